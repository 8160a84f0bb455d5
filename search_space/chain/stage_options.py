"""The lists of a stage in a config (`conv: [...]`, `alpha: [...]`) and the choices they spell."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..choice import Choice
from ..errors import InputError, unknown_key, unknown_name
from ..layers.operator import COMMON
from ..layers.registry import OPERATORS, numbers_known, owner_of

FACTORS = tuple(number.name for number in COMMON)
"""What is chosen beside the operator, each on its own."""


@dataclass(frozen=True)
class StageOptions:
    """The values a stage chooses from. A number that is not listed is not chosen: it is the
    backbone's own."""

    conv: tuple[str, ...]
    numbers: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)

    @classmethod
    def names(cls) -> list[str]:
        """What a stage's mapping may hold."""
        return ["conv", *numbers_known()]

    @classmethod
    def from_config(cls, mapping: Any, key: str) -> StageOptions:
        """From `{conv: [vanilla, octave], alpha: [0.25, 0.5]}`. Raises InputError under `key`."""
        if not isinstance(mapping, Mapping):
            raise InputError(
                key, mapping, "it must be a mapping like {conv: [vanilla], depth: [1]}"
            )
        for name in mapping:
            if name not in cls.names():
                raise unknown_key(key, name, cls.names())
        if "conv" not in mapping:
            raise InputError(f"{key}.conv", None, f"choose from: {', '.join(sorted(OPERATORS))}")
        values: dict[str, tuple[Any, ...]] = {}
        for name, given in mapping.items():
            items = given if isinstance(given, list | tuple) else [given]
            if not items:
                raise InputError(f"{key}.{name}", items, "give at least one value")
            values[name] = tuple(_value(name, item, f"{key}.{name}") for item in items)
            if len(set(values[name])) < len(items):
                raise InputError(f"{key}.{name}", items, "each value may stand there once")
        for conv in values["conv"]:
            for number in OPERATORS[conv].parameters:
                if not number.optional and number.name not in values:
                    needed = f"{conv} needs a list of {number.name} values"
                    raise InputError(f"{key}.{number.name}", None, needed)
        # Arguments are evaluated in order: `values` no longer holds conv when it is passed.
        return cls(values.pop("conv"), values)

    def to_config(self) -> dict[str, Any]:
        listed = {name: list(self.listed(name)) for name in numbers_known() if self.listed(name)}
        return {"conv": list(self.conv), **listed}

    def listed(self, number: str) -> tuple[Any, ...]:
        """The values of a number; () where it is not chosen."""
        return self.numbers.get(number, ())

    def operators(self) -> list[Choice]:
        """Every operator with each of its numbers; kernel, depth and width not yet fixed."""
        choices = []
        for conv in self.conv:
            own = [number.name for number in OPERATORS[conv].parameters]
            rows = itertools.product(*[self.listed(name) or (None,) for name in own])
            choices += [Choice(conv, **dict(zip(own, row, strict=True))) for row in rows]
        return choices

    def choices(self) -> Iterator[Choice]:
        """Every operator with every kernel, depth and width."""
        free = [self.listed(name) or (None,) for name in FACTORS]
        for operator, *values in itertools.product(self.operators(), *free):
            yield operator.replaced(**dict(zip(FACTORS, values, strict=True)))

    def unused(self) -> list[str]:
        """Lists that no listed operator reads."""
        read = {number.name for conv in self.conv for number in OPERATORS[conv].parameters}
        return [
            f"{name} is not used: {owner_of(name)} is not among the convolutions"
            for name in numbers_known()
            if self.listed(name) and name not in (*read, *FACTORS)
        ]


def _value(name: str, item: Any, key: str) -> Any:
    if name != "conv":
        return numbers_known()[name].checked(item, key)
    if not isinstance(item, str) or item not in OPERATORS:
        raise unknown_name(key, item, OPERATORS)
    return item
