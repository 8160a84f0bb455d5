"""The layers around the operators, as a plan knows them: convolution, norm, poolings, linear."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from torch import nn

from .base import FLOAT_BYTES, Kept, LayerCost, NotBuildable, Signal
from .frequency import FrequencyMaxPool, FrequencyNorm, GlobalPool, SqueezeExcite

_INDEX_BYTES = 8
"""Of each position that a max pooling chose: an int64."""


@dataclass(frozen=True)
class Vanilla:
    """A plain convolution, padded to keep the size, output ceil(size / stride)."""

    source: Signal
    out_channels: int
    kernel: int
    stride: int = 1
    groups: int = 1
    bias: bool = False

    def __post_init__(self) -> None:
        if self.source.channels % self.groups or self.out_channels % self.groups:
            raise NotBuildable(
                f"{self.groups} groups do not divide {self.source.channels} input and"
                f" {self.out_channels} output channels"
            )

    @cached_property
    def out(self) -> Signal:
        return Signal(self.out_channels, *self.source.strided(self.stride))

    def cost(self) -> LayerCost:
        weights = self.out_channels * (self.source.channels // self.groups) * self.kernel**2
        return LayerCost(
            flops=weights * self.out.area,
            params=weights + self.out_channels * self.bias,
            activations=self.out.elements,
        )

    @property
    def biases(self) -> int:
        return self.out.elements if self.bias else 0

    def build(self) -> nn.Module:
        return nn.Conv2d(
            self.source.channels,
            self.out_channels,
            self.kernel,
            stride=self.stride,
            padding=self.kernel // 2,
            groups=self.groups,
            bias=self.bias,
        )


@dataclass(frozen=True)
class Norm:
    """BatchNorm, separate for each frequency."""

    out: Signal

    def cost(self) -> LayerCost:
        return LayerCost(params=2 * self.out.channels)

    def build(self) -> nn.Module:
        if self.out.alpha == 0:
            return nn.BatchNorm2d(self.out.channels)
        return FrequencyNorm(self.out.channels, self.out.alpha)


@dataclass(frozen=True)
class MaxPool:
    """Max pooling that keeps the odd last row, on each frequency."""

    source: Signal
    kernel: int = 2
    stride: int = 2

    @property
    def out(self) -> Signal:
        height, width = self.source.strided(self.stride)
        return Signal(self.source.channels, height, width, self.source.alpha)

    def cost(self) -> LayerCost:
        return LayerCost()

    @property
    def poolings(self) -> int:
        # Windows over the border count in full.
        return self.kernel**2 * self.out.elements

    def kept(self) -> Kept:
        return Kept(source=True, inside=_INDEX_BYTES * self.out.elements)

    def build(self) -> nn.Module:
        return FrequencyMaxPool(self.kernel, self.stride)


@dataclass(frozen=True)
class Squeeze:
    """Squeeze-and-excitation (Hu et al., CVPR 2018): squeeze both frequencies, excite each."""

    out: Signal
    reduction: int = 16

    @property
    def hidden(self) -> int:
        return max(1, self.out.channels // self.reduction)

    def cost(self) -> LayerCost:
        channels, hidden = self.out.channels, self.hidden
        return LayerCost(
            flops=2 * channels * hidden,
            params=2 * channels * hidden + hidden + channels,
            activations=hidden + channels,
        )

    @property
    def poolings(self) -> int:
        return self.out.elements

    def kept(self) -> Kept:
        """Its map, the squeezed vector, the hidden one, the gate."""
        return Kept(source=True, inside=FLOAT_BYTES * (2 * self.out.channels + self.hidden))

    def build(self) -> nn.Module:
        return SqueezeExcite(self.out.channels, self.out.alpha, self.reduction)


@dataclass(frozen=True)
class Pool:
    """Global average pooling to a vector of all channels, high before low."""

    source: Signal

    @property
    def out(self) -> Signal:
        return Signal(self.source.channels, 1, 1)

    def cost(self) -> LayerCost:
        return LayerCost()

    @property
    def poolings(self) -> int:
        return self.source.elements

    def kept(self) -> Kept:
        return Kept()

    def build(self) -> nn.Module:
        return GlobalPool()


@dataclass(frozen=True)
class Linear:
    """A linear layer with bias on a pooled vector; `hidden` adds BatchNorm after it."""

    source: Signal
    features: int
    hidden: bool = False

    @property
    def out(self) -> Signal:
        return Signal(self.features, 1, 1)

    def cost(self) -> LayerCost:
        weights = self.source.channels * self.features
        params = weights + self.features + 2 * self.features * self.hidden
        return LayerCost(flops=weights, params=params, activations=self.features)

    def kept(self) -> Kept:
        if not self.hidden:
            return Kept(source=True)
        # What the linear layer reads, what the norm reads, what the ReLU gives.
        return Kept(source=True, out=True, inside=FLOAT_BYTES * self.features)

    def build(self) -> nn.Module:
        linear = nn.Linear(self.source.channels, self.features)
        if not self.hidden:
            return linear
        return nn.Sequential(linear, nn.BatchNorm1d(self.features), nn.ReLU())
