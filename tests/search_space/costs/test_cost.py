"""The closed form against torch's own counter, the built network, and the papers."""

from __future__ import annotations

import itertools

import pytest
import torch

import convnas
from convnas import Architecture, Choice

CHOICES = [
    Choice("vanilla"),
    Choice("octave", alpha=0.25),
    Choice("octave", alpha=1),
    Choice("hetconv", p=4),
    Choice("res2net", scales=4, depth=2),
]


def architecture(stages, size=8, backbone="resnet-cifar", channels=1) -> Architecture:
    return Architecture(backbone, (channels, size, size), 10, tuple(stages))


@pytest.mark.parametrize("size", [8, 7])
@pytest.mark.parametrize("first", CHOICES, ids=str)
def test_every_architecture_of_a_small_space(first, size, multiply_adds) -> None:
    for rest in itertools.product(CHOICES, repeat=2):
        arch = architecture((first, *rest), size)
        # HetConv finds its indices by their values, which meta tensors do not have.
        hetconv = any(choice.conv == "hetconv" for choice in (first, *rest))
        with torch.device("cpu" if hetconv else "meta"):
            network = convnas.build_network(arch)
        cost = convnas.cost(arch)
        assert cost.flops == multiply_adds(network, arch.input), str(arch)
        assert cost.params == sum(p.numel() for p in network.parameters()), str(arch)


def test_parts_add_up_and_activations_are_the_outputs_of_convolutions_and_linears() -> None:
    arch = architecture((CHOICES[0], CHOICES[4], CHOICES[0]))
    cost = convnas.cost(arch)
    for name in ("flops", "params", "activations", "backward_bytes"):
        parts = (cost.stem, *cost.stages, cost.head)
        assert getattr(cost, name) == sum(getattr(part, name) for part in parts)
    elements = 0

    def count(_: object, __: object, output: torch.Tensor) -> None:
        nonlocal elements
        elements += output.numel()

    network = convnas.build_network(arch)
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d | torch.nn.Linear):
            module.register_forward_hook(count)
    network.eval()(torch.zeros(1, 1, 8, 8))
    assert cost.activations == elements


def test_vanilla_resnet_cifar_by_hand() -> None:
    """Convolution by convolution on 1x8x8: in * out * k * k * output pixels."""
    stem = 1 * 16 * 9 * 64
    stage1 = (16 * 16 + 16 * 16 * 9 + 16 * 64 + 16 * 64) * 64
    stage2 = 64 * 32 * 64 + (32 * 32 * 9 + 32 * 128 + 64 * 128) * 16
    stage3 = 128 * 64 * 16 + (64 * 64 * 9 + 64 * 256 + 128 * 256) * 4
    cost = convnas.cost(architecture([Choice("vanilla")] * 3))
    assert [stage.flops for stage in cost.stages] == [stage1, stage2, stage3]
    assert cost.flops == stem + stage1 + stage2 + stage3 + 256 * 10 == 1_256_960


@pytest.mark.parametrize(("alpha", "percent"), [(0.125, 82), (0.25, 67), (0.5, 44), (0.75, 30)])
def test_octave_layer_costs_the_papers_share(alpha, percent) -> None:
    """OctConv paper, table 1: 1 - 3/4 a (2 - a)."""
    from convnas.search_space.layers.base import Signal
    from convnas.search_space.layers.octave import Octave

    layer = Octave(Signal(64, 32, 32, alpha), 64, 3, alpha_out=alpha)
    plain = 64 * 64 * 9 * 32 * 32
    assert layer.cost().flops == plain * (1 - 0.75 * alpha * (2 - alpha))
    assert round(100 * layer.cost().flops / plain) == percent
    assert layer.cost().activations == 64 * 32 * 32 * (1 - 0.75 * alpha)


@pytest.mark.parametrize("p", [1, 2, 4, 8, 16])
def test_hetconv_layer_costs_the_papers_formula(p) -> None:
    from convnas.search_space.layers.base import Signal
    from convnas.search_space.layers.hetconv import Het

    m, n, d, k = 32, 64, 14, 3
    cost = Het(Signal(m, d, d), n, k, p).cost()
    assert cost.flops == m * n * d * d * (k * k / p + 1 - 1 / p)
    assert cost.params == m * n * (k * k / p + 1 - 1 / p)


def test_a_dict_says_its_convention_and_its_parts() -> None:
    cost = convnas.cost(architecture([CHOICES[0]] * 3))
    facts = cost.to_dict()
    assert facts["convention"] == "multiply-adds"
    assert [part["flops"] for part in facts["stages"]] == [stage.flops for stage in cost.stages]
    keys = {"flops", "params", "activations", "backward_bytes"}
    assert set(facts["stem"]) == set(facts["head"]) == keys
    assert {*keys, "convention", "stem", "stages", "head"} == set(facts)
