"""The skeletons a search fills in: stem, stages, kind of block, head; all as data."""

from __future__ import annotations

from dataclasses import dataclass, replace

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

    `block`: "bottleneck" (1x1, 3x3, 1x1, output 4 * planes), "basic" (3x3, 3x3), "plain" (one
    convolution, no shortcut) or "depthwise" (a depthwise convolution, then a 1x1). `groups` and
    `group_width` make a ResNeXt's bottleneck of planes * group_width / 64 * groups channels.
    `padded_shortcut` is option A of He et al. `max_pool` halves the map after every stage, `bias`
    gives the convolutions biases, `head` is the width of a hidden linear layer, `first_vanilla`
    keeps the network's first convolution plain. `input` and `classes` are those it was published
    with; an architecture may have others.
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
    input: tuple[int, int, int] = (3, 224, 224)
    classes: int = 1000

    @property
    def expansion(self) -> int:
        """Channels that a block hands on, to its stage's planes."""
        return 4 if self.block == "bottleneck" else 1


def _stages(planes: tuple[int, ...], depths: tuple[int, ...], first: int = 1) -> tuple[Stage, ...]:
    strides = (first, *[2] * (len(planes) - 1))
    return tuple(map(Stage, planes, depths, strides))


def _resnet(name: str, block: str, depths: tuple[int, ...]) -> Backbone:
    """He et al. (CVPR 2016), as torchvision builds it: the stride is on the 3x3 convolution."""
    return Backbone(name, block, _stages((64, 128, 256, 512), depths), Stem(64, 7, 2, pool=True))


def _cifar_resnet(name: str, depth: int) -> Backbone:
    """He et al. (CVPR 2016), section 4.2: 6 * depth + 2 layers."""
    stages = _stages((16, 32, 64), (depth,) * 3)
    return replace(_CIFAR, name=name, block="basic", stages=stages, padded_shortcut=True)


def _cifar_resnext(groups: int, width: int) -> Backbone:
    """Xie et al. (CVPR 2017), section 5.3: ResNeXt-29."""
    return Backbone(
        f"resnext29-{groups}x{width}d",
        "bottleneck",
        _stages((64, 128, 256), (3, 3, 3)),
        Stem(64),
        groups=groups,
        group_width=width,
        input=(3, 32, 32),
        classes=100,
    )


def _mobilenet(width: float) -> Backbone:
    """Howard et al. (arXiv 1704.04861): every layer's channels, the stem's too, times `width`."""
    planes = tuple(int(channels * width) for channels in (64, 128, 256, 512, 1024))
    return Backbone(
        "mobilenet-v1" if width == 1 else f"mobilenet-v1-{width}",
        "depthwise",
        _stages(planes, (1, 2, 2, 6, 2)),
        Stem(int(32 * width), stride=2),
    )


_RESNETS = {
    depth: _resnet(f"resnet{depth}", block, depths)
    for depth, block, depths in (
        (18, "basic", (2, 2, 2, 2)),
        (34, "basic", (3, 4, 6, 3)),
        (50, "bottleneck", (3, 4, 6, 3)),
        (101, "bottleneck", (3, 4, 23, 3)),
        (152, "bottleneck", (3, 8, 36, 3)),
    )
}
_RESNEXTS = tuple(
    replace(
        _RESNETS[depth],
        name=f"resnext{depth}-{groups}x{width}d",
        groups=groups,
        group_width=width,
    )
    # 8x16d is as wide as 32x4d: the skeleton of Res2NeXt-50, 8 groups of 4 channels in 4 scales.
    for depth, groups, width in ((50, 32, 4), (50, 8, 16), (101, 32, 4), (101, 32, 8))
)
_CIFAR = Backbone(
    "resnet-cifar",
    "bottleneck",
    _stages((16, 32, 64), (1, 1, 1)),
    Stem(16),
    input=(3, 32, 32),
    classes=10,
)
_VGG16 = Backbone(
    "vgg16-cifar",
    "plain",
    # Stride 1 throughout: the pooling after every stage halves the map.
    tuple(map(Stage, (64, 128, 256, 512, 512), (2, 2, 3, 3, 3), (1,) * 5)),
    stem=None,
    bias=True,
    max_pool=True,
    head=512,
    first_vanilla=True,
    input=(3, 32, 32),
    classes=10,
)
_CIFAR_RESNEXTS = tuple(_cifar_resnext(*size) for size in ((8, 64), (16, 64), (6, 24), (8, 25)))
_PLAIN = (*_RESNETS.values(), *_RESNEXTS, *_CIFAR_RESNEXTS)
_EXCITED = tuple(replace(backbone, name=f"se-{backbone.name}", se=True) for backbone in _PLAIN)

BACKBONES = {
    backbone.name: backbone
    for backbone in (
        _CIFAR,
        _cifar_resnet("resnet20", 3),
        _cifar_resnet("resnet56", 9),
        *_PLAIN,
        *_EXCITED,
        _VGG16,
        *map(_mobilenet, (1, 0.75, 0.5, 0.25)),
    )
}


def get_backbone(name: str) -> Backbone:
    """The backbone of this name; an unknown name lists the known. Raises InputError."""
    if not isinstance(name, str) or name not in BACKBONES:
        raise unknown_name("backbone", name, BACKBONES)
    return BACKBONES[name]
