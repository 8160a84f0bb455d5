"""The papers' ways of counting, by hand on single stages."""

from __future__ import annotations

import pytest

import convnas
from convnas import Architecture, Choice, InputError

VANILLA = Choice("vanilla")


def added(backbone: str, *stages: Choice, size: int = 32) -> list[int]:
    """What the papers' convention adds, by part."""
    arch = Architecture(backbone, (3, size, size), 10, stages)
    plain, paper = convnas.cost(arch), convnas.cost(arch, convention="paper")
    assert paper.convention == "paper"
    assert paper.params == plain.params
    assert paper.flops == sum(part.flops for part in (paper.stem, *paper.stages, paper.head))
    parts = ((paper.stem, plain.stem), *zip(paper.stages, plain.stages, strict=True))
    return [a.flops - b.flops for a, b in (*parts, (paper.head, plain.head))]


def test_hetconv_adds_one_per_output_scaled_like_its_multiply_adds() -> None:
    """VGG-16: stage 1 is 64x32x32 twice, the first convolution vanilla; p = 4 scales by 1/3."""
    het, one = Choice("hetconv", p=4), Choice("hetconv", p=1)
    stem, first, second, *_, head = added("vgg16-cifar", het, one, VANILLA, VANILLA, VANILLA)
    assert (stem, head) == (0, 0)
    assert first == 65536 + round(65536 / 3)
    assert second == 2 * 128 * 16 * 16


def test_hetconv_without_biases_adds_nothing() -> None:
    assert added("resnet20", *[Choice("hetconv", p=4)] * 3) == [0] * 5


def test_octconv_adds_every_element_that_pooling_reads() -> None:
    """resnet-cifar 3x32x32: high to low pools what a convolution reads, 2x2 windows; the stride of
    stage 2 pools high and low once more; the head reads 256x8x8."""
    octave = Choice("octave", alpha=0.5)
    stem, first, second, third, head = added("resnet-cifar", octave, octave, VANILLA)
    assert stem == 0
    # Read by high to low: 16 channels (1x1 and shortcut), 8 high ones (3x3), 8 (1x1), at 32x32.
    assert first == (16 + 16 + 8 + 8) * 32 * 32
    one_by_one = 32 * 32 * 32 + 16 * 16 * 16
    spatial = (16 * 32 * 32 + 16 * 16 * 16) + 16 * 16 * 16
    shortcut = (32 * 32 * 32 + 32 * 16 * 16) + 32 * 16 * 16
    assert second == one_by_one + spatial + shortcut
    # Stage 3 is vanilla but its shortcut takes the pair at stride 2: only high is pooled.
    assert third == 64 * 16 * 16
    assert head == 256 * 8 * 8


def test_max_pooling_and_gates_are_counted_too() -> None:
    octave = Choice("octave", alpha=0.5, depth=1)
    stages = (Choice("vanilla", depth=1),) * 3 + (octave,)
    stem, first, *_ = added("se-resnet18", *stages, size=64)
    assert stem == 9 * 64 * 16 * 16
    assert first == 64 * 16 * 16


def test_without_an_operator_that_counts_otherwise_nothing_is_added() -> None:
    assert added("vgg16-cifar", *[VANILLA] * 5) == [0] * 7
    assert added("resnet-cifar", *[Choice("res2net", scales=4)] * 3) == [0] * 5


def test_an_unknown_convention_lists_the_known() -> None:
    arch = Architecture("resnet-cifar", (1, 8, 8), 10, (VANILLA,) * 3)
    with pytest.raises(InputError, match="'macs' is not allowed; choose from: hetconv, multiply-a"):
        convnas.cost(arch, convention="macs")
