"""What one stage or one block chooses: an operator with its numbers fixed.

Whether a choice can be built on its stage's channels is decided by the plan (`network/`); here only
what is true everywhere is checked.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from .errors import InputError, unknown_key, unknown_name
from .layers.operator import COMMON
from .layers.registry import OPERATORS, numbers_known, owner_of


@dataclass(frozen=True, init=False, repr=False)
class Choice:
    """One operator with its numbers fixed: `Choice("octave", alpha=0.25)`.

    Every operator takes its own numbers and no others (octave: alpha; hetconv: p; res2net: scales
    and optionally base_width), and `kernel`, the spatial kernel size (None: the backbone's own, 3),
    `depth`, the number of blocks, and `width`, the multiplier of the stage's channels (None: the
    backbone's own). A number is an attribute, None where it is not given. Raises InputError.
    """

    conv: str
    numbers: tuple[tuple[str, float | int], ...]
    """(name, value) of those that are given, the operator's own first."""

    def __init__(self, conv: str, **numbers: float | None) -> None:
        if not isinstance(conv, str) or conv not in OPERATORS:
            raise unknown_name("conv", conv, OPERATORS)
        own = OPERATORS[conv].parameters
        given = {name: value for name, value in numbers.items() if value is not None}
        for number in own:
            if number.name not in given and not number.optional:
                needed = f"{conv} needs {number.name}: {number.allowed}"
                raise InputError(number.name, None, needed)
        checked = [
            (number.name, number.checked(given.pop(number.name)))
            for number in (*own, *COMMON)
            if number.name in given
        ]
        for name, value in given.items():
            owner = owner_of(name)
            if owner is None:
                raise unknown_key("", name, ["conv", *numbers_known()])
            raise InputError(name, value, f"{name} belongs to {owner}, not {conv}")
        object.__setattr__(self, "conv", conv)
        object.__setattr__(self, "numbers", tuple(checked))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name == "numbers":  # not there while it is copied or unpickled
            raise AttributeError(name)
        for own, value in self.numbers:
            if own == name:
                return value
        if name in numbers_known():
            return None
        raise AttributeError(f"a choice has no {name!r}")

    def replaced(self, **numbers: float | None) -> Choice:
        """The same choice with other numbers; None takes one away."""
        return Choice(self.conv, **{**dict(self.numbers), **numbers})

    @property
    def text(self) -> str:
        """The operator and its own numbers alone: `octave(alpha=0.25)`."""
        common = {number.name for number in COMMON}
        return self._text((name, value) for name, value in self.numbers if name not in common)

    def __str__(self) -> str:
        return self._text(self.numbers)

    def __repr__(self) -> str:
        told = "".join(f", {name}={value!r}" for name, value in self.numbers)
        return f"Choice({self.conv!r}{told})"

    def _text(self, chosen: Iterable[tuple[str, float | int]]) -> str:
        told = ", ".join(f"{name}={value!r}" for name, value in chosen)
        return f"{self.conv}({told})" if told else self.conv

    @classmethod
    def parse(cls, text: str) -> Choice:
        """The choice whose `str` or `text` this is. Raises InputError."""
        match = re.fullmatch(r"\s*(\w+)\s*(?:\((.*)\))?\s*", text)
        if not match or not text.isascii():
            raise InputError("choice", text, "write it like octave(alpha=0.25)")
        settings: dict[str, Any] = {"conv": match[1]}
        for part in filter(None, (piece.strip() for piece in (match[2] or "").split(","))):
            name, _, number = (piece.strip() for piece in part.partition("="))
            try:
                settings[name] = float(number) if "." in number or "e" in number else int(number)
            except ValueError as e:
                raise InputError("choice", text, "write it like octave(alpha=0.25)") from e
        return cls.from_dict(settings)

    @classmethod
    def from_dict(cls, mapping: Mapping[str, Any]) -> Choice:
        """From an architecture file's `{conv: octave, alpha: 0.25}`. Raises InputError."""
        if not isinstance(mapping, Mapping):
            raise InputError("choice", mapping, "it must be a mapping like {conv: vanilla}")
        conv = mapping.get("conv")
        if isinstance(conv, str) and conv not in OPERATORS:
            # Before its numbers: those of an operator that is not registered are unknown too.
            raise unknown_name("conv", conv, OPERATORS)
        names = ["conv", *numbers_known()]
        for name in mapping:
            if name not in names:
                raise unknown_key("", name, names)
        if "conv" not in mapping:
            raise InputError("conv", None, f"choose from: {', '.join(sorted(OPERATORS))}")
        return cls(**mapping)

    def to_dict(self) -> dict[str, Any]:
        return {"conv": self.conv, **dict(self.numbers)}


StageChoice = Choice | tuple[Choice, ...]
"""One choice for all blocks of a stage, or one choice for each block."""
