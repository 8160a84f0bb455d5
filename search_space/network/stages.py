"""A stage, worked out: the layers of its blocks at known shapes, and those of stem and head.

A convolution or shortcut that receives a (high, low) pair is an octave convolution whatever the
stage's operator; its output has the stage's own alpha, 0 for the other operators.
"""

from __future__ import annotations

from ..backbones import Backbone
from ..choice import Choice, StageChoice
from ..errors import InputError
from ..layers.base import Layer, NotBuildable, Signal
from ..layers.octave import convolution
from ..layers.plain import Linear, MaxPool, Norm, Pool
from .blocks import Block, Place, Relu, plan_block


def check_stage_count(backbone: Backbone, count: int, key: str) -> None:
    """Raises InputError under `key` where the backbone has another number of stages."""
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
    if isinstance(choice, Choice):
        choices: tuple[Choice, ...] = (choice,) * (choice.depth or backbone.stages[index].depth)
    else:
        # One choice for each block, so their number is the depth.
        choices = choice
    blocks: list[Block] = []
    for number, block_choice in enumerate(choices):
        blocks.append(plan_stage_block(backbone, index, number == 0, source, block_choice))
        source = blocks[-1].out
    return (*blocks, *stage_end(backbone, source))


def plan_stage_block(
    backbone: Backbone, index: int, first: bool, source: Signal, choice: Choice
) -> Block:
    """A block of stage `index` (from 0), its first or a later one. Raises NotBuildable."""
    stage = backbone.stages[index]
    planes = scaled(stage.planes, choice.width or 1.0)
    if backbone.first_vanilla and index == 0 and first:
        choice = Choice("vanilla", width=choice.width)
    return plan_block(Place(backbone, planes, stage.stride if first else 1, first), choice, source)


def stage_end(backbone: Backbone, source: Signal) -> tuple[Block, ...]:
    """What stands after a stage's blocks."""
    return (Block((MaxPool(source),)),) if backbone.max_pool else ()


def scaled(planes: int, width: float) -> int:
    """Channels times a width multiplier, which must come out whole. Raises NotBuildable."""
    channels = round(planes * width)
    # A product that is whole but for rounding is taken: 0.29 * 100 = 28.999...
    if channels < 1 or abs(channels - planes * width) > 1e-6:
        raise NotBuildable(f"width {width} of {planes} channels is {planes * width:g}, not whole")
    return channels


def plan_head(backbone: Backbone, source: Signal, classes: int) -> Block:
    """Global average pooling and one linear layer (with `head`: two)."""
    layers: list[Layer] = [Pool(source)]
    if backbone.head is not None:
        layers.append(Linear(layers[-1].out, backbone.head, hidden=True))
    layers.append(Linear(layers[-1].out, classes))
    return Block(tuple(layers))
