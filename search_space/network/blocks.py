"""The blocks of a stage: which layers lie in a row, and what the shortcut is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from ..backbones import Backbone
from ..choice import Choice
from ..layers.base import Kept, Layer, LayerCost, NotBuildable, Signal
from ..layers.frequency import FrequencyReLU
from ..layers.octave import convolution
from ..layers.operator import Operator, Site
from ..layers.plain import Norm, Squeeze
from ..layers.registry import operator_on, plan_spatial
from ..layers.residual import PaddedShortcut, ResidualBlock


@dataclass(frozen=True)
class Relu:
    out: Signal

    def cost(self) -> LayerCost:
        return LayerCost()

    def kept(self) -> Kept:
        return Kept(out=True)  # it works in place

    def build(self) -> nn.Module:
        return nn.ReLU(inplace=True) if self.out.alpha == 0 else FrequencyReLU()


@dataclass(frozen=True)
class Padding:
    """The parameter-free shortcut."""

    source: Signal
    out: Signal
    stride: int

    def cost(self) -> LayerCost:
        return LayerCost()

    def kept(self) -> Kept:
        return Kept()

    def build(self) -> nn.Module:
        high, low = self.out.high - self.source.high, self.out.low - self.source.low
        return PaddedShortcut((high, low) if self.out.alpha else high, self.stride)


@dataclass(frozen=True)
class Block:
    """Layers in a row, and for a residual block the layers of its shortcut (none: the identity)."""

    path: tuple[Layer, ...]
    shortcut: tuple[Layer, ...] = ()
    residual: bool = False

    @property
    def out(self) -> Signal:
        return self.path[-1].out

    @property
    def layers(self) -> tuple[Layer, ...]:
        return (*self.path, *self.shortcut)

    def cost(self) -> LayerCost:
        return LayerCost(*map(sum, zip(*[layer.cost() for layer in self.layers], strict=True)))

    def build(self) -> nn.Module:
        path = nn.Sequential(*[layer.build() for layer in self.path])
        if not self.residual:
            return path
        shortcut = [layer.build() for layer in self.shortcut]
        return ResidualBlock(path, nn.Sequential(*shortcut) if shortcut else None)


@dataclass(frozen=True)
class Place:
    """Where a block goes: on which backbone, with how many planes, and whether it leads a stage."""

    backbone: Backbone
    planes: int
    stride: int
    stage_block: bool


class _Path:
    """The layers of a block's path, as they are laid one after another."""

    def __init__(self, place: Place, choice: Choice, source: Signal) -> None:
        self.place, self.choice = place, choice
        self.operator: Operator = operator_on(place.backbone, choice.conv)
        self.alpha = self.operator.alpha(choice)
        self.layers: list[Layer] = []
        self.out = source

    def pointwise(self, channels: int, *, relu: bool = True) -> None:
        """A 1x1 convolution, its norm and, if `relu`, a ReLU."""
        bias = self.place.backbone.bias
        self._add(convolution(self.out, channels, alpha_out=self.alpha, bias=bias), relu=relu)

    def spatial(self, channels: int, stride: int, *, relu: bool = True) -> None:
        """The convolution that the stage's operator stands for."""
        groups = self.place.backbone.groups
        self._spatial(channels, stride, groups, self.alpha, relu=relu)

    def depthwise(self, stride: int) -> None:
        """One filter a channel. It cannot move channels between frequencies: alpha stays."""
        channels = self.out.channels
        self._spatial(channels, stride, channels, self.out.alpha)

    def _spatial(
        self, channels: int, stride: int, groups: int, alpha: float, *, relu: bool = True
    ) -> None:
        bias, stage_block = self.place.backbone.bias, self.place.stage_block
        site = Site(self.choice, self.out, channels, alpha, stride, groups, bias, stage_block)
        self._add(plan_spatial(site), relu=relu)

    def _add(self, layer: Layer, *, relu: bool = True) -> None:
        self.layers.append(layer)
        self.out = layer.out
        if not getattr(layer, "normalised", False):
            self.layers.append(Norm(layer.out))
            if relu:
                self.layers.append(Relu(layer.out))


def _bottleneck(path: _Path) -> None:
    place, choice = path.place, path.choice
    backbone = place.backbone
    width = path.operator.bottleneck(choice, place.planes, backbone.groups)
    if width is None:
        # As in ResNeXt: `group_width` is a group's width where the planes are 64.
        width = place.planes * backbone.group_width // 64 * backbone.groups
    if width == 0:
        raise NotBuildable(f"{place.planes} planes leave no channel for the groups")
    path.pointwise(width)
    path.spatial(width, place.stride)
    # No ReLU: a residual block has its own after the sum.
    path.pointwise(place.planes * backbone.expansion, relu=False)


def _basic(path: _Path) -> None:
    path.spatial(path.place.planes, path.place.stride)
    path.spatial(path.place.planes, 1, relu=False)


def _plain(path: _Path) -> None:
    path.spatial(path.place.planes, path.place.stride)


def _depthwise(path: _Path) -> None:
    path.depthwise(path.place.stride)
    path.pointwise(path.place.planes)


BLOCKS: dict[str, tuple[Callable[[_Path], None], bool]] = {
    "bottleneck": (_bottleneck, True),
    "basic": (_basic, True),
    "plain": (_plain, False),
    "depthwise": (_depthwise, False),
}
"""Kind of block -> how its path is laid, and whether a shortcut goes around it."""


def plan_block(place: Place, choice: Choice, source: Signal) -> Block:
    """One block. Raises NotBuildable."""
    lay, residual = BLOCKS[place.backbone.block]
    path = _Path(place, choice, source)
    lay(path)
    if place.backbone.se:
        path.layers.append(Squeeze(path.out))
    layers = tuple(path.layers)
    if not residual:
        return Block(layers)
    return Block(layers, _shortcut(place, source, path.out), residual=True)


def _shortcut(place: Place, source: Signal, out: Signal) -> tuple[Layer, ...]:
    # At 1x1 pixels a stride leaves the shape as it is, so the stride is asked too.
    if source == out and place.stride == 1:
        return ()
    # Padding can neither move channels between frequencies nor take any away.
    padded = place.backbone.padded_shortcut
    if padded and source.alpha == out.alpha and source.channels <= out.channels:
        return (Padding(source, out, place.stride),)
    projection = convolution(source, out.channels, alpha_out=out.alpha, stride=place.stride)
    return (projection, Norm(out))
