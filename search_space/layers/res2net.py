"""The operator `res2net`: a bottleneck's 3x3 convolution split into a hierarchy of smaller ones.

Source: Gao et al., TPAMI 2019, arXiv 1904.01169; the hierarchy itself is in
`modules/res2net_conv2d.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from ..backbones import Backbone
from .base import FLOAT_BYTES, Kept, Layer, LayerCost, NotBuildable, Signal
from .modules.res2net_conv2d import Res2NetConv2d, hierarchy_channels, split_width
from .operator import Chosen, Operator, Parameter, Site
from .plain import Vanilla
from .standalone import res2net as standalone


@dataclass(frozen=True)
class Res2Net:
    """A planned hierarchy, padded to keep the size; its norms and ReLUs included."""

    source: Signal
    scales: int
    kernel: int
    stride: int = 1
    groups: int = 1
    stage_block: bool = False
    normalised: ClassVar[bool] = True

    def __post_init__(self) -> None:
        try:
            split_width(self.source.channels, self.scales, self.groups)
        except ValueError as e:
            raise NotBuildable(str(e)) from e

    @property
    def out(self) -> Signal:
        return Signal(self.source.channels, *self.source.strided(self.stride))

    def cost(self) -> LayerCost:
        width = self.source.channels // self.scales
        split = Signal(width, self.source.height, self.source.width)
        one = Vanilla(split, width, self.kernel, self.stride, self.groups).cost()
        count = self.scales - 1
        return LayerCost(
            flops=one.flops * count,
            params=(one.params + 2 * width) * count,
            activations=one.activations * count,
        )

    def kept(self) -> Kept:
        """Of every convolution the sum it reads, what it gives, and that after norm and ReLU."""
        width = self.source.channels // self.scales
        convolutions = self.scales - 1
        given = 2 * convolutions * width * self.out.area
        # The first convolution reads a view of the source, and in a stage block every one does.
        sums = 0 if self.stage_block else (convolutions - 1) * width * self.source.area
        return Kept(source=True, inside=FLOAT_BYTES * (given + sums))

    def build(self) -> nn.Module:
        return Res2NetConv2d(
            self.source.channels,
            self.scales,
            self.kernel,
            self.stride,
            self.groups,
            self.stage_block,
        )


def _spatial(site: Site) -> Layer:
    scales = site.choice.scales
    if scales == 1:  # one split, which is convolved
        channels = site.source.channels
        return Vanilla(site.source, channels, site.kernel, site.stride, site.groups)
    return Res2Net(site.source, scales, site.kernel, site.stride, site.groups, site.stage_block)


def _no_bottleneck(backbone: Backbone) -> str | None:
    if backbone.block != "bottleneck":
        return f"res2net needs bottleneck blocks, this backbone has {backbone.block} ones"
    return None


def _bottleneck(choice: Chosen, planes: int, groups: int) -> int | None:
    if choice.base_width is None:
        return None
    return hierarchy_channels(planes, choice.scales, choice.base_width, groups)


RES2NET = Operator(
    "res2net",
    _spatial,
    parameters=(Parameter("scales"), Parameter("base_width", optional=True)),
    misplaced=_no_bottleneck,
    bottleneck=_bottleneck,
    standalone=(standalone.Res2NetConv2d,),
    colours=("#fde68a", "#4d3f0f"),
)
