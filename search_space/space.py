"""The search space: a backbone and what each of its stages may choose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from .architecture import Architecture, Choice, check_classes, check_input
from .backbones import Backbone, get_backbone
from .budget import Budget
from .chain import Chain, Position
from .cost import cost, head_cost, stage_cost, stem_cost
from .errors import InputError, unknown_key
from .feasible import FeasibleSet
from .files import read_yaml
from .layers import LayerCost, NotBuildable, Signal
from .left_out import LeftOut
from .plan import check_stage_count
from .stage_options import FACTORS, StageOptions

COSTS = ("flops", "params", "activations")
_KEYS = ("backbone", "input", "classes", "stage", "stages", "not")


class SearchSpace:
    """Every architecture that a backbone and the lists of its stages allow.

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
        exclude: Sequence[Mapping[str, Any]] = (),
        shared: bool = False,
    ) -> None:
        self.backbone: Backbone = get_backbone(backbone)
        self.input, self.classes = check_input(input), check_classes(classes)
        self.stages, self.exclude, self.shared = tuple(stages), tuple(exclude), shared
        check_stage_count(self.backbone, len(self.stages), "stages")
        self.choices: list[list[Choice]] = []
        left_out = LeftOut()
        self.chain = self._chain(left_out)
        self.notes = left_out.notes

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
            exclude=_exclusions(mapping.get("not", ()), len(backbone.stages)),
            shared="stage" in mapping,
        )

    def to_dict(self) -> dict[str, Any]:
        """The mapping that `from_config` reads back to an equal space."""
        stages = [options.to_config() for options in self.stages]
        return {
            "backbone": self.backbone.name,
            "input": list(self.input),
            "classes": self.classes,
            **({"stage": stages[0]} if self.shared else {"stages": stages}),
            **({"not": [dict(rule) for rule in self.exclude]} if self.exclude else {}),
        }

    @property
    def size(self) -> int:
        """The number of architectures, whatever their cost."""
        return self.within(None).size

    def within(self, budget: Budget | None) -> FeasibleSet[Architecture]:
        """The architectures inside a budget. Raises InfeasibleBudget where there is none."""
        return FeasibleSet(
            self.chain,
            budget.limits if budget else {},
            decode=self._decode,
            encode=self._encode,
            describe=describe,
        )

    def _decode(self, indices: tuple[int, ...]) -> Architecture:
        stages = tuple(self.choices[i][option] for i, option in enumerate(indices))
        return Architecture(self.backbone.name, self.input, self.classes, stages)

    def _encode(self, architecture: Architecture) -> tuple[int, ...]:
        mine = (self.backbone.name, self.input, self.classes, len(self.stages))
        its = (architecture.backbone, architecture.input, architecture.classes)
        if (*its, len(architecture.stages)) != mine:
            raise ValueError(f"{architecture} is of another backbone or input")
        try:
            return tuple(
                index[choice]  # type: ignore[index]
                for index, choice in zip(self._option_of, architecture.stages, strict=True)
            )
        except KeyError as e:
            raise ValueError(f"{e.args[0]} is not a choice of this space") from e

    @cached_property
    def _option_of(self) -> list[dict[Choice, int]]:
        return [{choice: i for i, choice in enumerate(choices)} for choices in self.choices]

    def _chain(self, left_out: LeftOut) -> Chain:
        stem, signal = stem_cost(self.backbone.name, self.input)
        arriving, positions = [signal], []
        for number, options in enumerate(self.stages, 1):
            for note in options.unused():
                left_out.note(note)
            position, arriving = self._position(number, options, arriving, left_out)
            positions.append(position)
        left_out.check()
        first = positions[0]
        first.cost[...] += np.array(stem)[:, None, None]
        final = [head_cost(self.backbone.name, signal, self.classes) for signal in arriving]
        return Chain(tuple(positions), np.array(final, dtype=np.int64).T, COSTS)

    def _position(
        self, number: int, options: StageOptions, arriving: list[Signal], left_out: LeftOut
    ) -> tuple[Position, list[Signal]]:
        place = "stage" if self.shared else f"stages[{number}]"
        kept: list[Choice] = []
        columns: list[list[LayerCost | None]] = []
        leaving: list[Signal] = []
        for choice in options.choices():
            if any(_matches(rule, number, choice) for rule in self.exclude):
                continue
            results = [self._after(signal, number, choice) for signal in arriving]
            built = [result for result in results if not isinstance(result, NotBuildable)]
            if built:
                left_out.keep(place, choice)
                kept.append(choice)
                columns.append([None if isinstance(r, NotBuildable) else r[0] for r in results])
                leaving.append(built[0][1])
            elif isinstance(results[0], NotBuildable):
                left_out.drop(place, number, choice, results[0])
        if not kept:
            left_out.check()
            why = "; ".join([f"nothing is left to choose in stage {number}", *left_out.notes])
            raise InputError(f"{place}.conv", list(options.conv), why)
        self.choices.append(kept)
        return _position(number, options, kept, columns, leaving), list(dict.fromkeys(leaving))

    def _after(
        self, signal: Signal, number: int, choice: Choice
    ) -> tuple[LayerCost, Signal] | NotBuildable:
        """The cost of a choice after a signal, or why it cannot be built there."""
        try:
            return stage_cost(self.backbone.name, number - 1, signal, choice)
        except NotBuildable as e:
            return e


def _position(
    number: int,
    options: StageOptions,
    kept: list[Choice],
    columns: list[list[LayerCost | None]],
    leaving: list[Signal],
) -> Position:
    name = f"stage{number}"
    factors: dict[str, tuple[Any, ...]] = {name: tuple(dict.fromkeys(c.text for c in kept))}
    for factor in FACTORS:
        if len(getattr(options, factor)) > 1:
            factors[f"{name}.{factor}"] = getattr(options, factor)
    rows = []
    for choice in kept:
        row = [factors[name].index(choice.text)]
        for parameter, labels in list(factors.items())[1:]:
            row.append(labels.index(getattr(choice, parameter.partition(".")[2])))
        rows.append(row)
    states = list(dict.fromkeys(leaving))
    missing = LayerCost()
    table = [[paid or missing for paid in column] for column in columns]
    return Position(
        name=name,
        factors=factors,
        options=np.array(rows, dtype=np.int64),
        cost=np.array(table, dtype=np.int64).transpose(2, 1, 0).copy(),
        allowed=np.array([[paid is not None for paid in column] for column in columns]).T,
        state=np.array([states.index(signal) for signal in leaving], dtype=np.int64),
    )


def describe(architecture: Architecture) -> dict[str, Any]:
    """What people read of an architecture: conv, alpha, ... of every stage, flops and params."""
    facts: dict[str, Any] = {}
    for number, stage in enumerate(architecture.stages, 1):
        blocks = (stage,) if isinstance(stage, Choice) else stage
        for i, choice in enumerate(blocks, 1):
            place = f"stage{number}" if isinstance(stage, Choice) else f"stage{number}.block{i}"
            facts.update({f"{place}.{name}": value for name, value in choice.to_dict().items()})
    paid = cost(architecture)
    return {**facts, "flops": paid.flops, "params": paid.params}


def _read(path: str | Path) -> Mapping[str, Any]:
    mapping = read_yaml(path)
    if not isinstance(mapping, Mapping):
        raise InputError(str(path), "this file", "it must be a mapping with a `space:` key")
    return mapping


def _exclusions(rules: Any, stages: int) -> list[Mapping[str, Any]]:
    if not isinstance(rules, list | tuple):
        raise InputError("not", rules, "it must be a list like [{stage: 3, conv: octave}]")
    known = ("stage", "conv", "alpha", "p", "scales", "base_width", *FACTORS)
    for i, rule in enumerate(rules, 1):
        if not isinstance(rule, Mapping) or not rule:
            raise InputError(
                f"not[{i}]", rule, "it must be a mapping like {stage: 3, conv: octave}"
            )
        for name in rule:
            if name not in known:
                raise unknown_key(f"not[{i}]", name, known)
        if "stage" in rule and rule["stage"] not in range(1, stages + 1):
            raise InputError(f"not[{i}].stage", rule["stage"], f"there are stages 1 to {stages}")
    return list(rules)


def _matches(rule: Mapping[str, Any], number: int, choice: Choice) -> bool:
    facts = {"stage": number, **choice.to_dict()}
    return all(
        facts.get(name) in (value if isinstance(value, list | tuple) else [value])
        for name, value in rule.items()
    )
