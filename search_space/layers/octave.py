"""The operator `octave`: part of a stage's channels live at half resolution.

Source: Chen et al., ICCV 2019, arXiv 1904.05049; the convolution itself is in
`modules/octave_conv2d.py`. Any convolution or shortcut that receives a (high, low) pair is an
octave one whatever the stage's operator, so the plain operator of this package is planned here too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

from torch import nn

from .base import FLOAT_BYTES, Kept, Layer, LayerCost, NotBuildable, Signal, half
from .frequency import low_channels
from .modules.octave_conv2d import OctConv2d
from .modules.octave_paths import Path, octave_paths
from .operator import Chosen, Operator, Parameter, Site
from .plain import Vanilla
from .standalone import octave as standalone


@dataclass(frozen=True)
class Octave:
    """A planned octave convolution, padded to keep the size."""

    source: Signal
    out_channels: int
    kernel: int
    stride: int = 1
    groups: int = 1
    bias: bool = False
    alpha_out: float = 0.0

    def __post_init__(self) -> None:
        for channels, alpha in (
            (self.source.channels, self.source.alpha),
            (self.out_channels, self.alpha_out),
        ):
            if alpha > 0 and low_channels(channels, alpha) == 0:
                raise NotBuildable(f"alpha {alpha} of {channels} channels leaves no low channel")
        try:
            self._paths()
        except ValueError as e:
            raise NotBuildable(str(e)) from e

    def _paths(self) -> dict[str, Path]:
        return octave_paths(
            self.source.channels, self.out_channels, self.source.alpha, self.alpha_out, self.groups
        )

    @cached_property
    def out(self) -> Signal:
        return Signal(self.out_channels, *self.source.strided(self.stride), self.alpha_out)

    @property
    def biases(self) -> int:
        return self.out.elements if self.bias else 0

    @property
    def poolings(self) -> int:
        return 4 * self.pooled  # windows of 2x2

    def kept(self) -> Kept:
        return Kept(source=True, inside=FLOAT_BYTES * self.pooled)

    @property
    def pooled(self) -> int:
        """Elements that the 2x2 average poolings give."""
        paths, out = self._paths(), self.out
        low_area = half(out.height) * half(out.width)
        # High to low reads a pooled map; at stride 2 that is the strided high map pooled once more.
        elements = self.source.high * low_area if "high_to_low" in paths else 0
        # Stride 2 pools the high map once for both its paths, and the low one for low-to-low.
        if self.stride == 2:
            elements += self.source.high * out.area
            elements += self.source.low * low_area if "low_to_low" in paths else 0
        return elements

    def cost(self) -> LayerCost:
        # Low-to-high convolves the low map before upsampling, so at stride 1 only high-to-high
        # works at full resolution; at stride 2 the un-pooled low map is as large as the output.
        area, low_area = self.out.area, half(self.out.height) * half(self.out.width)
        area_of = {
            "high_to_high": area,
            "low_to_high": area if self.stride == 2 else low_area,
            "high_to_low": low_area,
            "low_to_low": low_area,
        }
        weights = {
            name: path.outputs * (path.inputs // path.groups) * self.kernel**2
            for name, path in self._paths().items()
        }
        return LayerCost(
            flops=sum(count * area_of[name] for name, count in weights.items()),
            params=sum(weights.values()) + self.out_channels * self.bias,
            activations=self.out.elements,
        )

    def build(self) -> nn.Module:
        return OctConv2d(
            self.source.channels,
            self.out_channels,
            self.kernel,
            stride=self.stride,
            padding=self.kernel // 2,
            groups=self.groups,
            bias=self.bias,
            alpha_in=self.source.alpha,
            alpha_out=self.alpha_out,
        )


def convolution(
    source: Signal,
    out_channels: int,
    kernel: int = 1,
    *,
    alpha_out: float = 0.0,
    stride: int = 1,
    groups: int = 1,
    bias: bool = False,
) -> Layer:
    """A plain convolution, or an octave one where either side has a low part.

    A map of a single pixel that is all low is a plain one: there is no lower resolution.
    """
    all_low = low_channels(out_channels, alpha_out) == out_channels
    depthwise = groups > 1 and groups == out_channels  # it hands on what it receives
    if all_low and not depthwise and source.strided(stride) == (1, 1):
        alpha_out = 0.0
    if source.alpha == 0 and alpha_out == 0:
        return Vanilla(source, out_channels, kernel, stride, groups, bias)
    return Octave(source, out_channels, kernel, stride, groups, bias, alpha_out)


def spatial(site: Site) -> Layer:
    """The plain or octave convolution of a site, by the alphas of both its sides."""
    return convolution(
        site.source,
        site.out_channels,
        site.kernel,
        alpha_out=site.alpha,
        stride=site.stride,
        groups=site.groups,
        bias=site.bias,
    )


def _simplest(choice: Chosen, layers: Sequence[Layer]) -> dict[str, float]:
    """Of the alphas that give the same low channels one that people write: an eighth, a tenth, ...

    Some alpha that is low / count does it: the least that gives each count its low channels.
    """
    channels = {
        layer.out_channels
        for layer in layers
        if isinstance(layer, Octave)
        and layer.alpha_out == choice.alpha
        and layer.groups < layer.out_channels  # a depthwise one hands on what it receives
    }
    lows = {count: low_channels(count, choice.alpha) for count in channels}
    if not lows:  # it is not reached
        return {}
    least = max(Fraction(low, count) for count, low in lows.items())
    for denominator in (1, 2, 4, 8, 10, 16, 20, 100, *sorted(channels)):
        alpha = math.ceil(least * denominator) / denominator
        if all(low_channels(count, alpha) == low for count, low in lows.items()):
            return {"alpha": alpha}
    return {}


OCTAVE = Operator(
    "octave",
    spatial,
    parameters=(
        Parameter("alpha", most=1, whole=False, meaning="the share of low-frequency channels"),
    ),
    alpha=lambda choice: float(choice.alpha),
    simplest=_simplest,
    takes_pairs=True,
    counts=("poolings",),
    standalone=(
        standalone.pooled,
        standalone.upsampled,
        standalone.OctConv2d,
        standalone.PlainOctConv2d,
        standalone.FoldedOctConv2d,
    ),
    colours=("#bfdbfe", "#1e3a5f"),
)
