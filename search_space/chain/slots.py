"""What is chosen one after another: a stage, or (granularity "block") each block of a stage.

A slot lists its options and says what each costs after a given state and what it hands on. The
state between two slots is the feature map, and within a stage whether its blocks have ended.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from ..backbones import Backbone
from ..choice import Choice, StageChoice
from ..costs.count import block_cost, stage_cost
from ..layers.base import LayerCost, Signal
from ..network.blocks import Block
from ..network.canonical import canonical_block, canonical_stage
from ..network.stages import plan_stage, plan_stage_block, stage_end
from .stage_options import FACTORS, StageOptions

ABSENT = "-"
"""The label of a block that a shallower stage does not have."""


class State(NamedTuple):
    """What is handed on. `ended`: a block was absent, so the rest of its stage is too."""

    signal: Signal
    ended: bool = False


Option = Choice | None
"""None: the block is absent."""


class Slot(Protocol):
    """`name`: of the Optuna parameter. `factors`: what is chosen beside the operator."""

    @property
    def backbone(self) -> Backbone: ...

    @property
    def name(self) -> str: ...

    @property
    def stage(self) -> int: ...

    @property
    def factors(self) -> tuple[str, ...]: ...

    def options(self) -> Iterator[Option]: ...

    def form(self, state: State, option: Option) -> Option:
        """What stands for all options that build the same there, see `canonical.py`. Raises
        NotBuildable."""

    def after(self, state: State, option: Option) -> tuple[LayerCost, State] | None:
        """The cost and the next state; None where the option may not follow. Raises
        NotBuildable where it cannot be built."""

    def blocks(self, state: State, option: Option) -> tuple[Block, ...]:
        """What stands there in the network, for an option that `after` has a cost of."""


@dataclass(frozen=True)
class StageSlot:
    """All blocks of stage `stage` (from 1) alike."""

    backbone: Backbone
    stage: int
    listed: StageOptions

    @property
    def name(self) -> str:
        return f"stage{self.stage}"

    @property
    def factors(self) -> tuple[str, ...]:
        return tuple(factor for factor in FACTORS if len(self.listed.listed(factor)) > 1)

    def options(self) -> Iterator[Option]:
        return self.listed.choices()

    def form(self, state: State, option: Option) -> Choice:
        assert option is not None
        form, _ = canonical_stage(self.backbone.name, self.stage - 1, state.signal, option)
        assert isinstance(form, Choice)
        return form

    def after(self, state: State, option: Option) -> tuple[LayerCost, State] | None:
        form = self.form(state, option)
        cost, signal = stage_cost(self.backbone.name, self.stage - 1, state.signal, form)
        return cost.counted, State(signal)

    def blocks(self, state: State, option: Option) -> tuple[Block, ...]:
        form = self.form(state, option)
        return plan_stage(self.backbone, self.stage - 1, state.signal, form)


@dataclass(frozen=True)
class BlockSlot:
    """Block `number` (from 0) of stage `stage`. The first chooses the stage's width for all; one
    beyond the least depth may be absent."""

    backbone: Backbone
    stage: int
    number: int
    listed: StageOptions

    @property
    def name(self) -> str:
        return f"stage{self.stage}.block{self.number + 1}"

    @property
    def factors(self) -> tuple[str, ...]:
        chosen = ("kernel", "width") if self.number == 0 else ("kernel",)
        if self._is_vanilla:
            chosen = ("width",)
        return tuple(factor for factor in chosen if len(self.listed.listed(factor)) > 1)

    @property
    def _is_vanilla(self) -> bool:
        """Whether the backbone keeps this block's convolution plain, whatever is chosen."""
        return self.backbone.first_vanilla and (self.stage, self.number) == (1, 0)

    @property
    def depths(self) -> tuple[int, ...]:
        """The numbers of blocks that the stage may have."""
        return self.listed.listed("depth") or (self.backbone.stages[self.stage - 1].depth,)

    def options(self) -> Iterator[Option]:
        kernels = self.listed.listed("kernel") or (None,)
        widths = (self.listed.listed("width") or (None,)) if self.number == 0 else (None,)
        operators = self.listed.operators()
        if self._is_vanilla:
            operators, kernels = [Choice("vanilla")], (None,)
        for choice, kernel, width in itertools.product(operators, kernels, widths):
            yield choice.replaced(kernel=kernel, width=width)
        if self.number >= min(self.depths):
            yield None

    def after(self, state: State, option: Option) -> tuple[LayerCost, State] | None:
        ended = state.ended and self.number > 0
        if option is None:
            # The first absent block, counted from 0, is the stage's depth: it must be a listed one.
            if not ended and self.number not in self.depths:
                return None
            return LayerCost(), self._handed(State(state.signal, ended=True))
        if ended:
            return None
        form, first = self.form(state, option), self.number == 0
        assert form is not None
        cost, signal = block_cost(self.backbone.name, self.stage - 1, first, state.signal, form)
        return cost, self._handed(State(signal))

    def form(self, state: State, option: Option) -> Option:
        if option is None:
            return None
        if self.number > 0:
            option = option.replaced(width=self._width(state.signal))
        place = (self.backbone.name, self.stage - 1, self.number == 0)
        return canonical_block(*place, state.signal, option)[0]

    def blocks(self, state: State, option: Option) -> tuple[Block, ...]:
        # What ends a stage belongs to its last slot, even where that block is absent.
        last = self.number + 1 == max(self.depths)
        if option is None:
            return stage_end(self.backbone, state.signal) if last else ()
        form, first = self.form(state, option), self.number == 0
        assert form is not None
        block = plan_stage_block(self.backbone, self.stage - 1, first, state.signal, form)
        return (block, *(stage_end(self.backbone, block.out) if last else ()))

    def _width(self, signal: Signal) -> float:
        """The width that the first block chose, read off the channels that it made."""
        planes = self.backbone.stages[self.stage - 1].planes * self.backbone.expansion
        return signal.channels / planes

    def _handed(self, state: State) -> State:
        if self.number + 1 < max(self.depths):
            return state
        end = stage_end(self.backbone, state.signal)
        return State(end[-1].out if end else state.signal)


def slots_of(backbone: Backbone, stages: tuple[StageOptions, ...], granularity: str) -> list[Slot]:
    """All slots from the first stage to the last."""
    slots: list[Slot] = []
    for number, listed in enumerate(stages, 1):
        if granularity == "stage":
            slots.append(StageSlot(backbone, number, listed))
            continue
        depth = max(listed.listed("depth") or (backbone.stages[number - 1].depth,))
        slots += [BlockSlot(backbone, number, block, listed) for block in range(depth)]
    return slots


def assembled(slots: list[Slot], chosen: list[Option]) -> tuple[StageChoice, ...]:
    """The stages of an architecture from the option of every slot."""
    stages: list[StageChoice] = []
    for _, group in itertools.groupby(zip(slots, chosen, strict=True), lambda pair: pair[0].stage):
        options = [option for _, option in group]
        if isinstance(slots[0], StageSlot):
            assert options[0] is not None
            stages.append(options[0])
        else:
            # Only the first block's option holds the stage's width.
            blocks = [option for option in options if option is not None]
            stages.append(tuple(block.replaced(width=blocks[0].width) for block in blocks))
    return tuple(stages)


def told(stages: Sequence[StageChoice]) -> dict[str, Any]:
    """What people read of an architecture: conv, alpha, ... of every stage."""
    facts: dict[str, Any] = {}
    for number, stage in enumerate(stages, 1):
        blocks = (stage,) if isinstance(stage, Choice) else stage
        for i, choice in enumerate(blocks, 1):
            place = f"stage{number}" if isinstance(stage, Choice) else f"stage{number}.block{i}"
            facts.update({f"{place}.{name}": value for name, value in choice.to_dict().items()})
    return facts


def taken_apart(slots: list[Slot], stages: tuple[StageChoice, ...]) -> list[Option]:
    """A choice for every slot from the stages of an architecture, the inverse of `assembled`.

    Raises ValueError where a stage needs the other granularity or has too many blocks.
    """
    chosen: list[Option] = []
    per_stage = itertools.groupby(slots, lambda slot: slot.stage)
    for (_, group), stage in zip(per_stage, stages, strict=True):
        places = list(group)
        if isinstance(places[0], StageSlot):
            if isinstance(stage, tuple):
                told = f"{stage} is not chosen by {places[0].name}"
                raise ValueError(told)  # noqa: TRY004 -- a point of another space, not of a type
            chosen.append(stage)
            continue
        if isinstance(stage, Choice):
            depth = stage.depth or places[0].backbone.stages[places[0].stage - 1].depth
            stage = (stage.replaced(depth=None),) * depth
        if len(stage) > len(places) or len({block.width for block in stage}) > 1:
            raise ValueError(f"{stage} has more blocks than the space, or several widths")
        chosen += [stage[0], *(block.replaced(width=None) for block in stage[1:])]
        chosen += [None] * (len(places) - len(stage))
    return chosen
