"""An architecture, worked out: the layers of its stem, blocks and head, at known shapes.

Both the cost and the network are read off this plan. A convolution or shortcut that receives a
(high, low) pair is an octave convolution whatever the stage's operator; its output has the stage's
own alpha, 0 for the other operators.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from .architecture import Architecture, Choice, StageChoice
from .backbones import Backbone, get_backbone
from .errors import InputError
from .frequency import FrequencyReLU
from .layers import Layer, LayerCost, Linear, MaxPool, Norm, NotBuildable, Pool, Signal, Squeeze
from .operators import OPERATORS, Site, convolution
from .res2net import hierarchy_channels
from .residual import PaddedShortcut, ResidualBlock


@dataclass(frozen=True)
class Relu:
    out: Signal

    def cost(self) -> LayerCost:
        return LayerCost()

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

    def cost(self) -> LayerCost:
        costs = [layer.cost() for layer in (*self.path, *self.shortcut)]
        return LayerCost(*map(sum, zip(*costs, strict=True)))

    def build(self) -> nn.Module:
        path = nn.Sequential(*[layer.build() for layer in self.path])
        if not self.residual:
            return path
        shortcut = [layer.build() for layer in self.shortcut]
        return ResidualBlock(path, nn.Sequential(*shortcut) if shortcut else None)


@dataclass(frozen=True)
class Plan:
    stem: Block | None
    stages: tuple[tuple[Block, ...], ...]
    head: Block


def plan(architecture: Architecture) -> Plan:
    """The layers of an architecture. Raises InputError where a choice cannot be built."""
    backbone = get_backbone(architecture.backbone)
    check_stage_count(backbone, len(architecture.stages), "stages")
    stem, source = plan_stem(backbone, architecture.input)
    stages = []
    for index, choice in enumerate(architecture.stages):
        try:
            blocks = plan_stage(backbone, index, source, choice)
        except NotBuildable as e:
            raise InputError(f"stages[{index + 1}]", _text(choice), str(e)) from e
        stages.append(blocks)
        source = blocks[-1].out
    return Plan(stem, tuple(stages), plan_head(backbone, source, architecture.classes))


def _text(choice: StageChoice) -> str:
    return str(choice) if isinstance(choice, Choice) else ", ".join(map(str, choice))


def check_stage_count(backbone: Backbone, count: int, key: str) -> None:
    if count != len(backbone.stages):
        allowed = f"{backbone.name} has {len(backbone.stages)} stages"
        raise InputError(key, f"{count} stages", allowed)


def plan_stem(backbone: Backbone, input_shape: tuple[int, int, int]) -> tuple[Block | None, Signal]:
    """The stem, and what the first stage receives."""
    image = Signal(*input_shape)
    stem = backbone.stem
    if stem is None:
        return None, image
    first = convolution(image, stem.channels, stem.kernel, stride=stem.stride, bias=backbone.bias)
    layers: list[Layer] = [first, Norm(first.out), Relu(first.out)]
    if stem.pool:
        layers.append(MaxPool(first.out, kernel=3))
    block = Block(tuple(layers))
    return block, block.out


def plan_stage(
    backbone: Backbone, index: int, source: Signal, choice: StageChoice
) -> tuple[Block, ...]:
    """The blocks of stage `index` (from 0) after `source`. Raises NotBuildable."""
    stage = backbone.stages[index]
    if isinstance(choice, Choice):
        choices: tuple[Choice, ...] = (choice,) * (choice.depth or stage.depth)
    else:
        choices = choice
    blocks: list[Block] = []
    for number, block_choice in enumerate(choices):
        first = number == 0
        vanilla_first = backbone.first_vanilla and index == 0 and first
        block = plan_block(
            backbone,
            Choice("vanilla", width=block_choice.width) if vanilla_first else block_choice,
            source,
            scaled(stage.planes, block_choice.width or 1.0),
            stage.stride if first else 1,
            stage_block=first,
        )
        blocks.append(block)
        source = block.out
    if backbone.max_pool:
        blocks.append(Block((MaxPool(source),)))
    return tuple(blocks)


def scaled(planes: int, width: float) -> int:
    """Channels times a width multiplier, which must come out whole. Raises NotBuildable."""
    channels = round(planes * width)
    if channels < 1 or abs(channels - planes * width) > 1e-6:
        raise NotBuildable(f"width {width} of {planes} channels is {planes * width:g}, not whole")
    return channels


def plan_block(
    backbone: Backbone,
    choice: Choice,
    source: Signal,
    planes: int,
    stride: int,
    *,
    stage_block: bool,
) -> Block:
    """One block. Raises NotBuildable."""
    path: list[Layer] = []
    alpha, operator = choice.alpha or 0.0, OPERATORS[choice.conv]

    def spatial(source: Signal, channels: int, stride: int, *, last: bool = False) -> Signal:
        site = Site(
            choice,
            source,
            channels,
            backbone.block,
            stride,
            backbone.groups,
            backbone.bias,
            stage_block,
        )
        return append(operator.spatial(site), norm=not operator.normalised, relu=not last)

    def append(layer: Layer, *, norm: bool = True, relu: bool = True) -> Signal:
        path.append(layer)
        if norm:
            path.append(Norm(layer.out))
            if relu:
                path.append(Relu(layer.out))
        return layer.out

    if backbone.block == "bottleneck":
        width = planes * backbone.group_width // 64 * backbone.groups
        if choice.base_width is not None:
            assert choice.scales is not None
            width = hierarchy_channels(planes, choice.scales, choice.base_width, backbone.groups)
        signal = append(convolution(source, width, alpha_out=alpha))
        signal = spatial(signal, width, stride)
        expand = convolution(signal, planes * backbone.expansion, alpha_out=alpha)
        out = append(expand, relu=False)
    elif backbone.block == "basic":
        out = spatial(spatial(source, planes, stride), planes, 1, last=True)
    else:
        spatial(source, planes, stride)
        return Block(tuple(path))
    if backbone.se:
        path.append(Squeeze(out))
    return Block(tuple(path), _shortcut(backbone, source, out, stride), residual=True)


def _shortcut(backbone: Backbone, source: Signal, out: Signal, stride: int) -> tuple[Layer, ...]:
    if source == out and stride == 1:
        return ()
    if backbone.padded_shortcut and source.alpha == out.alpha and source.channels <= out.channels:
        return (Padding(source, out, stride),)
    projection = convolution(source, out.channels, alpha_out=out.alpha, stride=stride)
    return (projection, Norm(out))


def plan_head(backbone: Backbone, source: Signal, classes: int) -> Block:
    """Global average pooling and one linear layer (with `head`: two)."""
    layers: list[Layer] = [Pool(source)]
    if backbone.head is not None:
        layers.append(Linear(layers[-1].out, backbone.head, hidden=True))
    layers.append(Linear(layers[-1].out, classes))
    return Block(tuple(layers))
