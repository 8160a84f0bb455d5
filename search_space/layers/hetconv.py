"""The operator `hetconv`: a share 1/p of every filter's kernels are KxK, the rest 1x1.

Source: Singh et al., CVPR 2019, arXiv 1903.04120; the convolution itself is in
`modules/hetconv_conv2d.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from .base import Layer, LayerCost, NotBuildable, Signal
from .hetconv_execution import HetShape
from .modules.hetconv_conv2d import HetConv2d, check_divides
from .octave import spatial
from .operator import Operator, Parameter, Site, ungrouped
from .standalone import hetconv as standalone


@dataclass(frozen=True)
class Het:
    """A planned heterogeneous convolution, padded to keep the size, at the paper's cost."""

    source: Signal
    out_channels: int
    kernel: int
    p: int
    stride: int = 1
    bias: bool = False

    def __post_init__(self) -> None:
        try:
            check_divides(self.source.channels, self.out_channels, self.p)
        except ValueError as e:
            raise NotBuildable(str(e)) from e

    @property
    def out(self) -> Signal:
        return Signal(self.out_channels, *self.source.strided(self.stride))

    def cost(self) -> LayerCost:
        channels = self.source.channels, self.out_channels
        weights = HetShape(*channels, self.kernel, self.stride, self.p).weights
        return LayerCost(
            flops=weights * self.out.area,
            params=weights + self.out_channels * self.bias,
            activations=self.out.elements,
        )

    @property
    def biases(self) -> int:
        """Scaled by (K^2/p + 1 - 1/p) / K^2, like the paper's multiply-adds."""
        dense = self.source.channels * self.kernel**2
        return round(self.cost().flops / dense) if self.bias else 0

    def build(self) -> nn.Module:
        return HetConv2d(
            self.source.channels,
            self.out_channels,
            self.kernel,
            stride=self.stride,
            padding=self.kernel // 2,
            bias=self.bias,
            p=self.p,
        )


def _spatial(site: Site) -> Layer:
    if site.choice.p == 1:  # every kernel is KxK
        return spatial(site)
    return Het(site.source, site.out_channels, site.kernel, site.choice.p, site.stride, site.bias)


HETCONV = Operator(
    "hetconv",
    _spatial,
    parameters=(Parameter("p"),),
    misplaced=ungrouped("hetconv"),
    counts=("biases",),
    standalone=(standalone.HetConv2d, standalone.GroupedHetConv2d, standalone.shuffled),
    colours=("#bbf7d0", "#14432a"),
)
