"""The search space: a backbone and what each of its stages may choose."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from .architecture import Architecture, check_classes, check_input
from .backbones import Backbone, get_backbone
from .budget import Budget
from .chain.build import tabulated
from .chain.exclusions import exclusions, matches
from .chain.latency_cost import in_time_units, with_latency
from .chain.left_out import LeftOut
from .chain.parts import Part, SpaceParts, slot_parts
from .chain.score import SCORE, with_score
from .chain.slots import BlockSlot, Option, Slot, State, assembled, slots_of, taken_apart, told
from .chain.stage_options import StageOptions
from .choice import StageChoice
from .costs.count import cost, head_cost, stem_cost
from .errors import InputError, unknown_key, unknown_name
from .feasible.feasible_set import FeasibleSet
from .feasible.limits import InfeasibleBudget
from .files import read_yaml
from .layers.base import Signal
from .network.stages import check_stage_count, plan_head, plan_stem

GRANULARITIES = ("stage", "block")
_KEYS = ("backbone", "input", "classes", "granularity", "stage", "stages", "not")


class SearchSpace:
    """Every architecture that a backbone and the lists of its stages allow.

    `granularity` "stage": all blocks of a stage are alike; "block": each chooses for itself (the
    width stays the stage's), and `depth` says how many there may be.

    A choice that cannot be built on its stage's channels is left out and named in `notes`; a number
    that can be built nowhere it was listed is wrong input. Raises InputError.
    """

    def __init__(
        self,
        backbone: str,
        input: tuple[int, int, int],
        classes: int,
        stages: Sequence[StageOptions],
        *,
        granularity: str = "stage",
        exclude: Sequence[Mapping[str, Any]] = (),
        shared: bool = False,
    ) -> None:
        self.backbone: Backbone = get_backbone(backbone)
        self.input, self.classes = check_input(input), check_classes(classes)
        self.stages, self.exclude, self.shared = tuple(stages), tuple(exclude), shared
        check_stage_count(self.backbone, len(self.stages), "stages")
        if granularity not in GRANULARITIES:
            raise unknown_name("granularity", granularity, GRANULARITIES)
        self.granularity = granularity
        left_out = LeftOut()
        for note in (note for options in self.stages for note in options.unused()):
            left_out.note(note)
        self._slots = slots_of(self.backbone, self.stages, granularity)
        stem, entering = stem_cost(self.backbone.name, self.input)
        tables = tabulated(
            self._slots,
            (stem.counted, entering),
            lambda signal: head_cost(self.backbone.name, signal, self.classes).counted,
            excluded=self._excluded,
            place_of=self._place,
            left_out=left_out,
        )
        left_out.check()
        self._options: dict[tuple[int, int], dict[Option, int]] = {}
        self.chain, self._kept, self._arriving = tables.chain, tables.kept, tables.arriving
        self.notes = left_out.notes
        self.merged = left_out.merged(len(self._slots))

    @classmethod
    def from_config(cls, source: str | Path | Mapping[str, Any]) -> SearchSpace:
        """From an experiment config (its `space:`) or the space alone; a path or a mapping.

        Raises InputError naming the key ("space.stage.alpha"), the value and what is allowed.
        """
        mapping = source if isinstance(source, Mapping) else _read(source)
        if "space" in mapping:
            mapping = mapping["space"]
        try:
            return cls._from_mapping(mapping)
        except InputError as e:
            raise e.under("space") from e

    @classmethod
    def _from_mapping(cls, mapping: Any) -> SearchSpace:
        if not isinstance(mapping, Mapping):
            raise InputError("stage", mapping, "it must be a mapping with backbone, input, classes")
        for name in mapping:
            if name not in _KEYS:
                raise unknown_key("", name, _KEYS)
        for name in ("backbone", "input", "classes"):
            if name not in mapping:
                raise InputError(name, None, "a space needs backbone, input, classes and stage")
        if ("stage" in mapping) == ("stages" in mapping):
            raise InputError("stage", mapping.get("stage"), "give either stage or stages")
        backbone = get_backbone(mapping["backbone"])
        if "stage" in mapping:
            stages = [StageOptions.from_config(mapping["stage"], "stage")] * len(backbone.stages)
        else:
            listed = mapping["stages"]
            if not isinstance(listed, list | tuple):
                raise InputError("stages", listed, "it must be a list, one mapping for each stage")
            stages = [
                StageOptions.from_config(one, f"stages[{i}]") for i, one in enumerate(listed, 1)
            ]
        return cls(
            backbone.name,
            mapping["input"],
            mapping["classes"],
            stages,
            granularity=mapping.get("granularity", "stage"),
            exclude=exclusions(mapping.get("not", ()), len(backbone.stages)),
            shared="stage" in mapping,
        )

    def to_dict(self) -> dict[str, Any]:
        """The mapping that `from_config` reads back to an equal space."""
        stages = [options.to_config() for options in self.stages]
        return {
            "backbone": self.backbone.name,
            "input": list(self.input),
            "classes": self.classes,
            **({"granularity": self.granularity} if self.granularity != "stage" else {}),
            **({"stage": stages[0]} if self.shared else {"stages": stages}),
            **({"not": [dict(rule) for rule in self.exclude]} if self.exclude else {}),
        }

    @property
    def size(self) -> int:
        """The number of architectures, whatever their cost."""
        return self.within(None).size

    @property
    def spellings(self) -> int:
        """How many ways there are to choose from the lists as they are written: more than `size`
        where several give the same network."""
        return self.chain.spellings

    def within(
        self, budget: Budget | None, *, least: Mapping[str, int] | None = None
    ) -> FeasibleSet[Architecture]:
        """The architectures inside a budget. Raises InfeasibleBudget where there is none.

        A limit on latency needs a `timed` space. least: the least sum of a `scored` space's score,
        by its name.
        """
        limits = dict(budget.limits if budget else {})
        limits.update({name: (low, None) for name, low in (least or {}).items()})
        if "latency" in limits and "latency" not in self.chain.costs:
            allowed = "latency is measured, not counted: this space has no latency table"
            raise InputError("budget.latency", limits["latency"], allowed)
        try:
            return FeasibleSet(
                self.chain,
                limits,
                decode=self._decode,
                encode=self._encode,
                describe=self._describe,
            )
        except InfeasibleBudget as e:
            raise in_time_units(e) if e.key == "budget.latency" else e from e

    @property
    def choices(self) -> list[tuple[Slot, list[Option]]]:
        """What is chosen one after another, and its options in the order of a point's indices."""
        return list(zip(self._slots, self._kept, strict=True))

    def parts(self) -> SpaceParts:
        """The pieces that all its networks are put together from."""
        return self._parts

    @cached_property
    def _parts(self) -> SpaceParts:
        stem, signal = plan_stem(self.backbone, self.input)
        image = Signal(*self.input)
        arriving = [State(signal)]
        positions = []
        for slot, kept in zip(self._slots, self._kept, strict=True):
            rows, arriving = slot_parts(slot, kept, arriving)
            positions.append(rows)
        heads = [
            Part((plan_head(self.backbone, state.signal, self.classes),), state.signal)
            for state in arriving
        ]
        return SpaceParts(Part((stem,), image) if stem else None, tuple(positions), tuple(heads))

    def parts_of(self, architecture: Architecture) -> list[Part]:
        """The pieces of one network of this space, from its stem to its head."""
        parts, state = self.parts(), 0
        found = [parts.stem]
        indices = self._encode(architecture)
        for rows, position, option in zip(
            parts.positions, self.chain.positions, indices, strict=True
        ):
            found.append(rows[state][option])
            state = int(position.state[state, option])
        found.append(parts.heads[state])
        return [part for part in found if part is not None]

    def timed(self, times: Mapping[str, int]) -> SearchSpace:
        """The same space with one more cost, "latency", in nanoseconds: the sum of its parts'.

        times: a part's key -> nanoseconds, measured by whoever has the device. InputError where a
        part of this space is missing.
        """
        # Shallow: slots and options are shared, and only the chain has a row more.
        timed = copy.copy(self)
        timed.chain = with_latency(self.chain, self.parts(), times)
        return timed

    def scored(self, name: str, effects: Sequence[Sequence[int]]) -> SearchSpace:
        """The same space with one more cost, `name`: a score, fitted as a sum over the stages.

        effects: for every position of the chain an integer an option, see `additive.fitted`.
        """
        scored = copy.copy(self)
        scored.chain = with_score(self.chain, name, effects)
        return scored

    def _describe(self, architecture: Architecture) -> dict[str, Any]:
        indices = self._encode(architecture)
        paid = cost(architecture)
        # As the config spells the choices, so that a depth that is chosen is told.
        facts = {**told(self._spelled(indices)), "flops": paid.flops, "params": paid.params}
        measured = [name for name in self.chain.costs if name in ("latency", SCORE)]
        if measured:
            row = self.chain.cost_of(np.array([indices]))[0]
            values = {name: int(row[self.chain.costs.index(name)]) for name in measured}
            if "latency" in values:
                facts["latency_ms"] = values["latency"] / 1e6
            if SCORE in values:
                facts[SCORE] = values[SCORE]
        return facts

    def _decode(self, indices: tuple[int, ...]) -> Architecture:
        stages = self._spelled(indices)
        return Architecture(self.backbone.name, self.input, self.classes, stages)

    def _spelled(self, indices: Sequence[int]) -> tuple[StageChoice, ...]:
        chosen = [kept[option] for kept, option in zip(self._kept, indices, strict=True)]
        return assembled(self._slots, chosen)

    def _encode(self, architecture: Architecture) -> tuple[int, ...]:
        mine = (self.backbone.name, self.input, self.classes, len(self.stages))
        its = (architecture.backbone, architecture.input, architecture.classes)
        if (*its, len(architecture.stages)) != mine:
            raise ValueError(f"{architecture} is of another backbone or input")
        state, indices = 0, []
        for i, choice in enumerate(taken_apart(self._slots, architecture.stages)):
            form = self._slots[i].form(self._arriving[i][state], choice)
            option = self._option_of(i, state).get(form)
            if option is None:
                raise ValueError(f"{choice} is not a choice of this space")
            indices.append(option)
            state = int(self.chain.positions[i].state[state, option])
        return tuple(indices)

    def _option_of(self, slot: int, state: int) -> dict[Option, int]:
        """The form of what may be chosen after a state -> its option."""
        if (slot, state) not in self._options:
            there = self._arriving[slot][state]
            may = np.flatnonzero(self.chain.positions[slot].allowed[state]).tolist()
            forms = {self._slots[slot].form(there, self._kept[slot][i]): i for i in may}
            self._options[slot, state] = forms
        return self._options[slot, state]

    def _place(self, slot: Slot) -> str:
        """The config's key of the lists that a slot chooses from."""
        return "stage" if self.shared else f"stages[{slot.stage}]"

    def _excluded(self, slot: Slot, option: Option) -> bool:
        if option is None:
            return False
        facts = {"stage": slot.stage, **option.to_dict()}
        if isinstance(slot, BlockSlot):
            facts["block"] = slot.number + 1
        return any(matches(rule, facts) for rule in self.exclude)


def _read(path: str | Path) -> Mapping[str, Any]:
    mapping = read_yaml(path)
    if not isinstance(mapping, Mapping):
        raise InputError(str(path), "this file", "it must be a mapping with a `space:` key")
    return mapping
