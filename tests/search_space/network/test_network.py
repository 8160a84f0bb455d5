"""One contract for every operator, wherever it stands and whatever stands beside it."""

from __future__ import annotations

import pytest
import torch

import convnas
from convnas import Architecture, Choice, InputError
from convnas.search_space.layers.registry import OPERATORS

EXAMPLE = {
    "vanilla": Choice("vanilla"),
    "octave": Choice("octave", alpha=0.5),
    "hetconv": Choice("hetconv", p=4),
    "res2net": Choice("res2net", scales=4),
}


def network(*stages, size=8, backbone="resnet-cifar"):
    return convnas.build_network(Architecture(backbone, (1, size, size), 10, stages))


def test_every_operator_has_an_example_here() -> None:
    assert EXAMPLE.keys() == OPERATORS.keys()


@pytest.mark.parametrize("name", OPERATORS)
@pytest.mark.parametrize("neighbour", OPERATORS)
@pytest.mark.parametrize("size", [8, 7, 1])
class TestContract:
    def test_trains_between_any_neighbours(self, name, neighbour, size) -> None:
        torch.manual_seed(0)
        net = network(EXAMPLE[neighbour], EXAMPLE[name], EXAMPLE[neighbour], size=size)
        logits = net(torch.randn(3, 1, size, size))
        assert logits.shape == (3, 10)
        logits.square().sum().backward()
        for key, parameter in net.named_parameters():
            assert parameter.grad is not None, key
            assert parameter.grad.isfinite().all(), key

    def test_one_image_alone_or_in_a_batch(self, name, neighbour, size) -> None:
        torch.manual_seed(0)
        net = network(EXAMPLE[name], EXAMPLE[neighbour], EXAMPLE[name], size=size).eval()
        images = torch.randn(3, 1, size, size)
        with torch.no_grad():
            torch.testing.assert_close(net(images[:1]), net(images)[:1])

    def test_memory_format_does_not_matter(self, name, neighbour, size) -> None:
        torch.manual_seed(0)
        net = network(EXAMPLE[name], EXAMPLE[neighbour], EXAMPLE[name], size=size).eval()
        images = torch.randn(2, 1, size, size)
        with torch.no_grad():
            expected = net(images)
            got = net.to(memory_format=torch.channels_last)(
                images.to(memory_format=torch.channels_last)
            )
        torch.testing.assert_close(got, expected)


@pytest.mark.parametrize("name", OPERATORS)
def test_a_kernel_of_five_covers_five_pixels(name) -> None:
    settings = {**EXAMPLE[name].to_dict(), "kernel": 5}
    arch = Architecture("resnet-cifar", (1, 8, 8), 10, (Choice(**settings),) * 3)
    net = convnas.build_network(arch)
    sizes = [module.kernel_size for module in net.modules() if hasattr(module, "kernel_size")]
    assert max(size if isinstance(size, int) else size[0] for size in sizes) == 5
    assert sum(p.numel() for p in net.parameters()) == convnas.cost(arch).params
    assert net.eval()(torch.zeros(1, 1, 8, 8)).shape == (1, 10)


def test_depth_and_width_and_blocks_one_by_one() -> None:
    block = Choice("octave", alpha=0.5, width=0.5)
    arch = Architecture(
        "resnet-cifar",
        (1, 8, 8),
        10,
        (Choice("vanilla", depth=3), (block, Choice("hetconv", p=2, width=0.5)), block),
    )
    net = convnas.build_network(arch)
    assert [len(stage) for stage in net.stages] == [3, 2, 1]
    assert net.head[1].in_features == 64 * 4 // 2
    assert sum(p.numel() for p in net.parameters()) == convnas.cost(arch).params
    # Alpha changes from 0.5 to 0 within stage 2, so its second block's shortcut is a projection.
    assert isinstance(net.stages[1][1].shortcut[0], convnas.OctConv2d)


def test_padded_shortcuts_have_no_parameters_and_keep_alpha() -> None:
    octave = Choice("octave", alpha=0.5)
    net = network(octave, octave, octave, backbone="resnet20")
    assert net(torch.randn(2, 1, 8, 8)).shape == (2, 10)
    shortcut = net.stages[1][0].shortcut
    assert not list(shortcut.parameters())
    high, low = shortcut((torch.ones(1, 8, 8, 8), torch.ones(1, 8, 4, 4)))
    assert high.shape == (1, 16, 4, 4)
    assert low.shape == (1, 16, 2, 2)
    assert high[:, :8].min() == 1
    assert high[:, 8:].max() == 0


@pytest.mark.parametrize(
    ("backbone", "stages", "complaint"),
    [
        ("resnet-cifar", [Choice("hetconv", p=3)] * 3, r"stages\[1\].*3 does not divide 16 input"),
        ("resnet-cifar", [Choice("res2net", scales=3)] * 3, r"3 does not divide 16"),
        ("resnet-cifar", [Choice("octave", alpha=0.01)] * 3, "leaves no low channel"),
        ("resnet-cifar", [Choice("vanilla", width=0.3)] * 3, "not whole"),
        ("resnet-cifar", [Choice("vanilla")] * 2, "resnet-cifar has 3 stages"),
        ("resnet20", [Choice("res2net", scales=4)] * 3, "res2net needs bottleneck blocks"),
        ("resnet-cifr", [Choice("vanilla")] * 3, "did you mean 'resnet-cifar'"),
    ],
)
def test_what_cannot_be_built_is_refused_with_the_reason(backbone, stages, complaint) -> None:
    arch = Architecture(backbone, (1, 8, 8), 10, tuple(stages))
    for use in (convnas.build_network, convnas.cost):
        with pytest.raises(InputError, match=complaint):
            use(arch)
