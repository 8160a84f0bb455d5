"""The skeletons a search fills in: stem, stages, kind of block, head; all as data."""

from __future__ import annotations

from dataclasses import dataclass

from .errors import unknown_name


@dataclass(frozen=True)
class Stem:
    """The first convolution, BatchNorm and ReLU; `pool` adds a 3x3 max pooling of stride 2."""

    channels: int
    kernel: int = 3
    stride: int = 1
    pool: bool = False


@dataclass(frozen=True)
class Stage:
    """Blocks at one resolution: `planes` channels, `depth` blocks, the first of them strided."""

    planes: int
    depth: int
    stride: int


@dataclass(frozen=True)
class Backbone:
    """One skeleton.

    `block`: "bottleneck" (1x1, 3x3, 1x1, output 4 * planes), "basic" (3x3, 3x3) or "plain" (one
    convolution, no shortcut). `groups` and `group_width` make a ResNeXt's bottleneck of
    planes * group_width / 64 * groups channels. `padded_shortcut` is option A of He et al.
    `max_pool` halves the map after every stage, `bias` gives the convolutions biases, `head` is the
    width of a hidden linear layer, `first_vanilla` keeps the network's first convolution plain.
    """

    name: str
    block: str
    stages: tuple[Stage, ...]
    stem: Stem | None
    groups: int = 1
    group_width: int = 64
    se: bool = False
    padded_shortcut: bool = False
    bias: bool = False
    max_pool: bool = False
    head: int | None = None
    first_vanilla: bool = False

    @property
    def expansion(self) -> int:
        return 4 if self.block == "bottleneck" else 1


def _stages(planes: tuple[int, ...], depths: tuple[int, ...], first: int = 1) -> tuple[Stage, ...]:
    strides = (first, *[2] * (len(planes) - 1))
    return tuple(map(Stage, planes, depths, strides))


_CIFAR = (16, 32, 64)

BACKBONES = {
    backbone.name: backbone
    for backbone in (
        Backbone("resnet-cifar", "bottleneck", _stages(_CIFAR, (1, 1, 1)), Stem(16)),
        Backbone("resnet20", "basic", _stages(_CIFAR, (3, 3, 3)), Stem(16), padded_shortcut=True),
        Backbone("resnet56", "basic", _stages(_CIFAR, (9, 9, 9)), Stem(16), padded_shortcut=True),
    )
}


def get_backbone(name: str) -> Backbone:
    """The backbone of this name; an unknown name lists the known. Raises InputError."""
    if not isinstance(name, str) or name not in BACKBONES:
        raise unknown_name("backbone", name, BACKBONES)
    return BACKBONES[name]
