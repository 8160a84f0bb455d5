"""What a search proposes: plain, immutable, hashable data, apart from its network.

A `Choice` is an operator with its numbers fixed for one stage (or one block). An `Architecture` is a
backbone plus one choice per stage. Whether a choice can be built on its stage's channels is decided
by `plan.py`; here only what is true everywhere is checked.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from .errors import InputError, unknown_key, unknown_name
from .files import atomic_write, read_yaml

PARAMETER_OF: dict[str, str | None] = {
    "vanilla": None,
    "octave": "alpha",
    "hetconv": "p",
    "res2net": "scales",
}
"""Operator -> the one number it must be given. `register_operator` adds to it."""

_MOST = {"alpha": 1, "width": 1000, "depth": 1000, "kernel": 65535}
"""What a number may be at most; 65,536 where it is not here."""
_WHOLE = "a whole number from 1 to 65536"
_ALLOWED = {
    "alpha": "a number above 0 and at most 1 (the share of low-frequency channels)",
    "p": _WHOLE,
    "scales": _WHOLE,
    "base_width": _WHOLE,
    "kernel": "an odd whole number from 3 to 65535",
    "depth": "a whole number from 1 to 1000",
    "width": "a number above 0 and at most 1000 (it multiplies the stage's channels)",
}
OWNER = {"alpha": "octave", "p": "hetconv", "scales": "res2net", "base_width": "res2net"}


def takes(conv: str, name: str) -> bool:
    """Whether an operator has this number; kernel, depth and width are every operator's."""
    return name not in OWNER or name == PARAMETER_OF[conv] or OWNER[name] == conv


def check_number(name: str, value: Any, key: str | None = None) -> float | int:
    """The value of alpha, p, scales, base_width, kernel, depth or width, or InputError."""
    real = isinstance(value, (int, float)) and not isinstance(value, bool)
    if real and 0 < value <= _MOST.get(name, 65536):  # not so where it is no number (nan)
        if name in ("alpha", "width"):
            return float(value)
        if value == int(value) and (name != "kernel" or (value >= 3 and value % 2 == 1)):
            return int(value)
    raise InputError(key or name, value, f"it must be {_ALLOWED[name]}")


@dataclass(frozen=True)
class Choice:
    """One operator with its numbers fixed: `Choice("octave", alpha=0.25)`.

    Every operator takes its own number and no other (octave: alpha; hetconv: p; res2net: scales and
    optionally base_width). `kernel` is the spatial kernel size (None: the backbone's own, 3),
    `depth` the number of blocks and `width` the multiplier of the stage's channels (None: the
    backbone's own). Raises InputError.
    """

    conv: str
    alpha: float | None = None
    p: int | None = None
    scales: int | None = None
    base_width: int | None = None
    kernel: int | None = None
    depth: int | None = None
    width: float | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.conv, str) or self.conv not in PARAMETER_OF:
            raise unknown_name("conv", self.conv, PARAMETER_OF)
        needed = PARAMETER_OF[self.conv]
        if needed and getattr(self, needed) is None:
            raise InputError(needed, None, f"{self.conv} needs {needed}: {_ALLOWED[needed]}")
        for name in _ALLOWED:
            value = getattr(self, name)
            if value is None:
                continue
            if not takes(self.conv, name):
                raise InputError(name, value, f"{name} belongs to {OWNER[name]}, not {self.conv}")
            object.__setattr__(self, name, check_number(name, value))

    @property
    def text(self) -> str:
        """The operator and its own numbers alone: `octave(alpha=0.25)`."""
        return self._text(("alpha", "p", "scales", "base_width"))

    def __str__(self) -> str:
        return self._text(tuple(_ALLOWED))

    def _text(self, names: Sequence[str]) -> str:
        numbers = ", ".join(
            f"{name}={value!r}" for name in names if (value := getattr(self, name)) is not None
        )
        return f"{self.conv}({numbers})" if numbers else self.conv

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
        names = [field.name for field in fields(cls)]
        for name in mapping:
            if name not in names:
                raise unknown_key("", name, names)
        if "conv" not in mapping:
            raise InputError("conv", None, f"choose from: {', '.join(sorted(PARAMETER_OF))}")
        return cls(**mapping)

    def to_dict(self) -> dict[str, Any]:
        values = ((field.name, getattr(self, field.name)) for field in fields(self))
        return {name: value for name, value in values if value is not None}


StageChoice = Choice | tuple[Choice, ...]
"""One choice for all blocks of a stage, or one choice for each block."""


@dataclass(frozen=True)
class Architecture:
    """A backbone, its input (channels, height, width), its classes, and a choice for each stage.

    `str(architecture)` is its canonical text and identity; `key` is that text's digest, fit for
    file names and unique indices. A stage may be a tuple of choices, one for each block.
    """

    backbone: str
    input: tuple[int, int, int]
    classes: int
    stages: tuple[StageChoice, ...]

    def __post_init__(self) -> None:
        if not isinstance(self.backbone, str):
            raise InputError("backbone", self.backbone, "it must be a name")
        object.__setattr__(self, "input", check_input(self.input))
        object.__setattr__(self, "classes", check_classes(self.classes))
        if not self.stages:
            raise InputError("stages", [], "give one choice for each stage")
        for i, stage in enumerate(self.stages, 1):
            if isinstance(stage, tuple) and any(choice.depth is not None for choice in stage):
                raise InputError(f"stages[{i}].depth", "given", "a list of blocks is its own depth")
            if stage == ():
                raise InputError(f"stages[{i}]", [], "give at least one block")

    def __str__(self) -> str:
        stages = " | ".join(
            "[" + ", ".join(map(str, stage)) + "]" if isinstance(stage, tuple) else str(stage)
            for stage in self.stages
        )
        return f"{self.backbone} {'x'.join(map(str, self.input))} {self.classes}: {stages}"

    @cached_property
    def _hash(self) -> int:
        return hash((self.backbone, self.input, self.classes, self.stages))

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def key(self) -> str:
        """16 hexadecimal digits: a digest of the canonical text."""
        return hashlib.sha256(str(self).encode()).hexdigest()[:16]

    @classmethod
    def parse(cls, text: str) -> Architecture:
        """The architecture whose canonical text this is. Raises InputError."""
        head, _, tail = text.partition(": ")
        try:
            if not head.isascii():  # int reads the digits of every script
                raise ValueError(head)
            backbone, shape, classes = head.split()
            size = [int(number) for number in shape.split("x")]
            count = int(classes)
        except ValueError as e:
            form = "write it like resnet-cifar 1x8x8 10: vanilla | octave(alpha=0.5) | vanilla"
            raise InputError("architecture", text, form) from e
        stages = tuple(_parse_stage(stage.strip()) for stage in tail.split("|"))
        return cls(backbone, check_input(size), count, stages)

    def to_dict(self) -> dict[str, Any]:
        stages = [
            [choice.to_dict() for choice in stage] if isinstance(stage, tuple) else stage.to_dict()
            for stage in self.stages
        ]
        return {
            "backbone": self.backbone,
            "input": list(self.input),
            "classes": self.classes,
            "stages": stages,
        }

    @classmethod
    def from_dict(cls, mapping: Mapping[str, Any]) -> Architecture:
        """From the mapping of an architecture file. Raises InputError naming the key."""
        if not isinstance(mapping, Mapping):
            raise InputError("architecture", mapping, "it must be a mapping with backbone, stages")
        names = [field.name for field in fields(cls)]
        for name in mapping:
            if name not in names:
                raise unknown_key("", name, names)
        for name in names:
            if name not in mapping:
                raise InputError(name, None, f"an architecture needs {', '.join(names)}")
        stages = mapping["stages"]
        if not isinstance(stages, Sequence) or isinstance(stages, str):
            raise InputError("stages", stages, "it must be a list of choices, one for each stage")
        parsed = tuple(_stage(stage, f"stages[{i}]") for i, stage in enumerate(stages, 1))
        return cls(mapping["backbone"], mapping["input"], mapping["classes"], parsed)

    def save(self, path: str | Path, *, comment: str = "") -> None:
        """Write a YAML (or, for a name ending in .json, JSON) file, atomically."""
        if str(path).endswith(".json"):
            text = json.dumps(self.to_dict(), indent=2) + "\n"
        else:
            head = "".join(f"# {line}\n" for line in comment.splitlines())
            text = head + yaml.safe_dump(self.to_dict(), sort_keys=False, default_flow_style=None)
        atomic_write(Path(path), text)

    @classmethod
    def load(cls, path: str | Path) -> Architecture:
        """Read an architecture file, YAML or JSON. Raises InputError naming file and key."""
        content = read_yaml(path)
        try:
            return cls.from_dict(content)
        except InputError as e:
            raise e.under(str(path)) from e


def _parse_stage(text: str) -> StageChoice:
    if not text.startswith("["):
        return Choice.parse(text)
    # A comma inside brackets belongs to a choice's numbers.
    return tuple(Choice.parse(block) for block in re.split(r",\s*(?![^(]*\))", text.strip("[] ")))


def _stage(value: Any, key: str) -> StageChoice:
    try:
        if isinstance(value, list | tuple):
            return tuple(Choice.from_dict(block) for block in value)
        return Choice.from_dict(value)
    except InputError as e:
        raise e.under(key) from e


def check_input(value: Any, key: str = "input") -> tuple[int, int, int]:
    """(channels, height, width) as a tuple of whole numbers from 1 to 65,536, or InputError."""
    whole = isinstance(value, list | tuple) and all(type(number) is int for number in value)
    if not whole or len(value) != 3 or min(value) < 1 or max(value) > 65536:
        raise InputError(
            key,
            value,
            "it must be [channels, height, width], like [3, 224, 224], each from 1 to 65536",
        )
    return (value[0], value[1], value[2])


def check_classes(value: Any, key: str = "classes") -> int:
    """The number of classes, a whole number from 1 to 10,000,000, or InputError."""
    if type(value) is not int or not 1 <= value <= 10_000_000:
        raise InputError(key, value, "it must be a whole number from 1 to 10000000")
    return value
