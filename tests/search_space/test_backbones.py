"""Every skeleton against published numbers, and every operator on every skeleton."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

import convnas
from convnas import Architecture, Choice, InputError, OctConv2d
from convnas.search_space.backbone_list import vanilla_architecture
from convnas.search_space.backbones import BACKBONES, Backbone
from convnas.search_space.layers.registry import OPERATORS, operators_of

EXAMPLE = {
    "vanilla": Choice("vanilla", depth=2),
    "octave": Choice("octave", alpha=0.5, depth=2),
    "hetconv": Choice("hetconv", p=4, depth=2),
    "res2net": Choice("res2net", scales=2, depth=2),
}
FOR_25 = {
    "octave": Choice("octave", alpha=0.2, depth=2),
    "res2net": Choice("res2net", scales=2, base_width=25, depth=2),
}
"""8 groups do not divide halves of 200 channels."""


def skeletons() -> list[str]:
    """One name for each skeleton: those that differ in depth alone are the same here."""
    seen: dict[Backbone, Backbone] = {}
    for backbone in BACKBONES.values():
        stages = tuple(replace(stage, depth=1) for stage in backbone.stages)
        seen.setdefault(replace(backbone, name="", stages=stages), backbone)
    return [backbone.name for backbone in seen.values()]


PLACES = [(name, operator) for name in skeletons() for operator in operators_of(BACKBONES[name])]


def small(backbone: str, choice: Choice) -> Architecture:
    stages = (choice,) * len(BACKBONES[backbone].stages)
    return Architecture(backbone, (3, 33, 33), 10, stages)


@pytest.mark.parametrize(("backbone", "operator"), PLACES)
def test_cost_is_what_the_built_network_has_and_does(backbone, operator, multiply_adds) -> None:
    example = {**EXAMPLE, **FOR_25} if backbone.endswith("8x25d") else EXAMPLE
    arch = small(backbone, example[operator])
    # HetConv finds its indices by their values, which meta tensors do not have.
    with torch.device("cpu" if operator == "hetconv" else "meta"):
        network = convnas.build_network(arch)
    cost = convnas.cost(arch)
    assert cost.params == sum(p.numel() for p in network.parameters())
    assert cost.flops == multiply_adds(network, arch.input)


@pytest.mark.parametrize(
    ("backbone", "params", "giga"),
    [
        ("resnet18", 11_689_512, 1.814),
        ("resnet34", 21_797_672, 3.664),
        ("resnet50", 25_557_032, 4.089),
        ("resnet101", 44_549_160, 7.801),
        ("resnet152", 60_192_808, 11.514),
        ("resnext50-32x4d", 25_028_904, 4.23),
        ("resnext101-32x8d", 88_791_336, 16.414),
    ],
)
def test_resnets_are_torchvisions(backbone, params, giga) -> None:
    """`num_params` and `_ops` of the weights in torchvision/models/resnet.py."""
    cost = convnas.cost(vanilla_architecture(backbone))
    assert cost.params == params
    assert round(cost.flops / 1e9, 3) == giga


@pytest.mark.parametrize(("backbone", "params"), [("resnet20", 0.27e6), ("resnet56", 0.85e6)])
def test_cifar_resnets_have_the_parameters_of_he_et_al(backbone, params) -> None:
    """Table 6 of "Deep Residual Learning for Image Recognition", to its two digits."""
    assert round(convnas.cost(vanilla_architecture(backbone)).params / 1e4) * 1e4 == params


@pytest.mark.parametrize(
    ("backbone", "mega", "params"),
    [
        ("mobilenet-v1", 569, 4.2),
        ("mobilenet-v1-0.75", 325, 2.6),
        ("mobilenet-v1-0.5", 149, 1.3),
        ("mobilenet-v1-0.25", 41, 0.5),
    ],
)
def test_mobilenets_are_those_of_howard_et_al(backbone, mega, params) -> None:
    """Tables 4 and 6 of arXiv 1704.04861: multiply-adds and parameters, in millions."""
    cost = convnas.cost(vanilla_architecture(backbone))
    assert round(cost.flops / 1e6) == mega
    assert round(cost.params / 1e6, 1) == params


@pytest.mark.parametrize("backbone", ["resnet50", "resnext101-32x4d"])
def test_excitation_adds_the_weights_of_hu_et_als_equation(backbone) -> None:
    """2/r * sum over stages of N * C^2 (r = 16), and a bias for each of their outputs."""
    excited, plain = (
        convnas.cost(vanilla_architecture(name)) for name in (f"se-{backbone}", backbone)
    )
    weights = biases = 0
    for stage in BACKBONES[backbone].stages:
        channels = 4 * stage.planes
        weights += 2 * stage.depth * channels**2 // 16
        biases += stage.depth * (channels + channels // 16)
    assert excited.flops - plain.flops == weights
    assert excited.params - plain.params == weights + biases


@pytest.mark.parametrize(
    ("backbone", "operator", "reason"),
    [
        ("resnet34", "res2net", "needs bottleneck blocks, this backbone has basic ones"),
        ("vgg16-cifar", "res2net", "needs bottleneck blocks, this backbone has plain ones"),
        ("mobilenet-v1", "res2net", "needs bottleneck blocks, this backbone has depthwise ones"),
        ("mobilenet-v1", "hetconv", "does not go where the convolution is depthwise"),
        ("resnext50-32x4d", "hetconv", "does not go where the convolution has 32 groups"),
        ("resnext29-8x25d", "octave", "8 groups do not divide the high-to-high path's 100"),
    ],
)
def test_where_an_operator_does_not_go_the_error_says_why(backbone, operator, reason) -> None:
    for use in (convnas.cost, convnas.build_network):
        with pytest.raises(InputError, match=reason):
            use(small(backbone, EXAMPLE[operator]))


def test_operators_of_a_backbone() -> None:
    assert operators_of(BACKBONES["resnet50"]) == list(OPERATORS)
    assert operators_of(BACKBONES["mobilenet-v1"]) == ["vanilla", "octave"]


def test_the_first_convolution_of_vgg_is_vanilla_whatever_its_stage_says() -> None:
    net = convnas.build_network(small("vgg16-cifar", Choice("hetconv", p=4)))
    first, second = net.stages[0][0][0], net.stages[0][1][0]
    assert type(first) is torch.nn.Conv2d
    assert first.bias is not None
    assert isinstance(second, convnas.HetConv2d)
    assert second.bias is not None
    head = [type(layer).__name__ for layer in (*net.head[1], net.head[2])]
    assert head == ["Linear", "BatchNorm1d", "ReLU", "Linear"]


def test_a_depthwise_convolution_keeps_alpha_and_the_pointwise_one_changes_it() -> None:
    octave, vanilla = Choice("octave", alpha=0.5, depth=1), Choice("vanilla", depth=1)
    stages = (octave, octave, vanilla, vanilla, vanilla)
    net = convnas.build_network(Architecture("mobilenet-v1", (3, 32, 32), 10, stages))
    alphas = [
        (conv.alpha_in, conv.alpha_out) for conv in net.modules() if isinstance(conv, OctConv2d)
    ]
    assert alphas == [(0, 0.5), (0.5, 0.5), (0.5, 0.5), (0.5, 0.5), (0.5, 0)]
    depthwise = net.stages[2][0][0]
    assert depthwise.high_to_low is None
    assert depthwise.low_to_high is None
    assert net(torch.zeros(2, 3, 32, 32)).shape == (2, 10)


@pytest.mark.parametrize("alpha", [0.25, 0.5, 0.75])
def test_alpha_changes_neither_parameters_nor_depth(alpha) -> None:
    """OctConv paper, section 3.2: the total number of parameters stays."""
    for name in ("resnet50", "se-resnet50", "mobilenet-v1", "vgg16-cifar"):
        arch = vanilla_architecture(name)
        octave = replace(arch, stages=(Choice("octave", alpha=alpha),) * len(arch.stages))
        assert convnas.cost(octave).params == convnas.cost(arch).params
