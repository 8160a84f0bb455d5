"""The lists of a stage in a config (`conv: [...]`, `alpha: [...]`) and the choices they spell."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

from ..architecture import OWNER, PARAMETER_OF, Choice, check_number, takes
from ..errors import InputError, unknown_key, unknown_name

FACTORS = ("kernel", "depth", "width")
"""What is chosen beside the operator, each on its own."""


@dataclass(frozen=True)
class StageOptions:
    """The values a stage chooses from; empty means not chosen, the backbone's own."""

    conv: tuple[str, ...]
    alpha: tuple[float, ...] = ()
    p: tuple[int, ...] = ()
    scales: tuple[int, ...] = ()
    base_width: tuple[int, ...] = ()
    kernel: tuple[int, ...] = ()
    depth: tuple[int, ...] = ()
    width: tuple[float, ...] = ()

    @classmethod
    def from_config(cls, mapping: Any, key: str) -> StageOptions:
        """From `{conv: [vanilla, octave], alpha: [0.25, 0.5]}`. Raises InputError under `key`."""
        if not isinstance(mapping, Mapping):
            raise InputError(
                key, mapping, "it must be a mapping like {conv: [vanilla], depth: [1]}"
            )
        names = [field.name for field in fields(cls)]
        for name in mapping:
            if name not in names:
                raise unknown_key(key, name, names)
        if "conv" not in mapping:
            raise InputError(f"{key}.conv", None, f"choose from: {', '.join(sorted(PARAMETER_OF))}")
        values: dict[str, tuple[Any, ...]] = {}
        for name, given in mapping.items():
            items = given if isinstance(given, list | tuple) else [given]
            if not items:
                raise InputError(f"{key}.{name}", items, "give at least one value")
            values[name] = tuple(_value(name, item, f"{key}.{name}") for item in items)
            if len(set(values[name])) < len(items):
                raise InputError(f"{key}.{name}", items, "each value may stand there once")
        for conv in values["conv"]:
            needed = PARAMETER_OF[conv]
            if needed and needed not in values:
                raise InputError(f"{key}.{needed}", None, f"{conv} needs a list of {needed} values")
        return cls(**values)

    def to_config(self) -> dict[str, Any]:
        return {f.name: list(getattr(self, f.name)) for f in fields(self) if getattr(self, f.name)}

    def operators(self) -> list[Choice]:
        """Every operator with each of its numbers; kernel, depth and width not yet fixed."""
        choices = []
        for conv in self.conv:
            own = PARAMETER_OF[conv]
            if own is None:
                choices.append(Choice(conv))
                continue
            for number in getattr(self, own):
                widths = (self.base_width or (None,)) if conv == "res2net" else (None,)
                choices += [Choice(conv, base_width=width, **{own: number}) for width in widths]
        return choices

    def choices(self) -> Iterator[Choice]:
        """Every operator with every kernel, depth and width."""
        free = [getattr(self, name) or (None,) for name in FACTORS]
        for operator, *numbers in itertools.product(self.operators(), *free):
            yield Choice(**operator.to_dict(), **dict(zip(FACTORS, numbers, strict=True)))

    def unused(self) -> list[str]:
        """Lists that no listed operator reads."""
        return [
            f"{name} is not used: {owner} is not among the convolutions"
            for name, owner in OWNER.items()
            if getattr(self, name) and not any(takes(conv, name) for conv in self.conv)
        ]


def _value(name: str, item: Any, key: str) -> Any:
    if name != "conv":
        return check_number(name, item, key)
    if not isinstance(item, str) or item not in PARAMETER_OF:
        raise unknown_name(key, item, PARAMETER_OF)
    return item
