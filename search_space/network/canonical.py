"""The one form of all choices that build the same network.

`hetconv(p=1)`, `kernel=3`, `width=1` and a depth that is the backbone's own are other spellings of
what is there without them, and so is any choice whose operator is not reached (the first
convolution of a `first_vanilla` backbone, an operator in whose place an octave convolution joins
two frequencies). What decides is the plan: two choices are one where it is equal, layer by layer.
Of these the form is, as far as they plan the same: vanilla; without kernel, depth and width; with
the simplest numbers; one choice for a stage of equal blocks.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from ..backbones import Backbone, get_backbone
from ..choice import Choice, StageChoice
from ..layers.base import NotBuildable, Signal
from ..layers.registry import OPERATORS
from .blocks import Block
from .stages import plan_stage, plan_stage_block, plan_stem, scaled

Blocks = tuple[Block, ...]


def canonical_stages(
    backbone: Backbone, input: tuple[int, int, int], stages: tuple[StageChoice, ...]
) -> tuple[StageChoice, ...]:
    """The stages of an architecture in their one form; as they are where they cannot be built."""
    _, signal = plan_stem(backbone, input)
    forms = []
    try:
        for index, stage in enumerate(stages):
            form, signal = canonical_stage(backbone.name, index, signal, stage)
            forms.append(form)
    except NotBuildable:
        return stages
    return tuple(forms)


@lru_cache(maxsize=65536)
def canonical_stage(
    backbone: str, index: int, source: Signal, stage: StageChoice
) -> tuple[StageChoice, Signal]:
    """The form of stage `index` (from 0) after `source`, and what it hands on. Raises
    NotBuildable."""
    skeleton = get_backbone(backbone)
    if isinstance(stage, tuple):
        blocks, signal = [], source
        for number, choice in enumerate(stage):
            form, signal = canonical_block(backbone, index, number == 0, signal, choice)
            blocks.append(form)
        stage = tuple(blocks)
        wanted = plan_stage(skeleton, index, source, stage)
        for choice in dict.fromkeys(blocks):
            alike = choice.replaced(depth=len(blocks))
            if _stage(skeleton, index, source, alike) == wanted:
                stage = alike
                break
        else:
            return stage, wanted[-1].out
    form = _simplest(stage, lambda choice: _stage(skeleton, index, source, choice))
    form = _usual_width(skeleton, index, form)
    if form.depth == skeleton.stages[index].depth:
        form = form.replaced(depth=None)
    return form, plan_stage(skeleton, index, source, form)[-1].out


@lru_cache(maxsize=65536)
def canonical_block(
    backbone: str, index: int, first: bool, source: Signal, choice: Choice
) -> tuple[Choice, Signal]:
    """As `canonical_stage`, of one block alone, the stage's first or a later one."""
    skeleton = get_backbone(backbone)
    form = _simplest(choice, lambda one: _block(skeleton, index, first, source, one))
    form = _usual_width(skeleton, index, form)
    return form, plan_stage_block(skeleton, index, first, source, form).out


def _stage(backbone: Backbone, index: int, source: Signal, choice: Choice) -> Blocks | None:
    try:
        return plan_stage(backbone, index, source, choice)
    except NotBuildable:
        return None


def _block(
    backbone: Backbone, index: int, first: bool, source: Signal, choice: Choice
) -> Blocks | None:
    try:
        return (plan_stage_block(backbone, index, first, source, choice),)
    except NotBuildable:
        return None


def _simplest(choice: Choice, planned: Callable[[Choice], Blocks | None]) -> Choice:
    """Operator, kernel and the operator's own numbers. Raises NotBuildable."""
    wanted = planned(choice)
    if wanted is None:
        return choice
    layers = [layer for block in wanted for layer in block.path]
    simpler = OPERATORS[choice.conv].simplest(choice, layers)
    if simpler:
        choice = choice.replaced(**simpler)
        wanted = planned(choice)
    vanilla = Choice("vanilla", kernel=choice.kernel, depth=choice.depth, width=choice.width)
    for other in (vanilla, choice):
        if other.kernel is not None and planned(other.replaced(kernel=None)) == wanted:
            other = other.replaced(kernel=None)
        if planned(other) == wanted:
            choice = other
            break
    for number in OPERATORS[choice.conv].parameters:
        if number.optional and number.whole and getattr(choice, number.name) is not None:
            choice = _least(choice, number.name, planned)
    return choice


def _least(choice: Choice, name: str, planned: Callable[[Choice], Blocks | None]) -> Choice:
    """Without an optional number, or with the least one, where these plan the same."""
    wanted = planned(choice)
    if planned(choice.replaced(**{name: None})) == wanted:
        return choice.replaced(**{name: None})
    while (value := getattr(choice, name)) > 1:
        less = choice.replaced(**{name: value - 1})
        if planned(less) != wanted:
            break
        choice = less
    return choice


def _usual_width(backbone: Backbone, index: int, choice: Choice) -> Choice:
    """The multiplier that gives these channels exactly; none where they are the backbone's own."""
    if choice.width is None:
        return choice
    planes = backbone.stages[index].planes
    channels = scaled(planes, choice.width)
    return choice.replaced(width=None if channels == planes else channels / planes)
