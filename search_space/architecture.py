"""What a search proposes: plain, immutable, hashable data, apart from its network.

An `Architecture` is a backbone plus one choice per stage. Whether its choices can be built on their
stages' channels is decided by the plan (`network/`); here only what is true everywhere is checked.
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

from .backbones import BACKBONES
from .choice import Choice, StageChoice
from .errors import InputError, unknown_key
from .files import atomic_write, read_yaml
from .network.canonical import canonical_stages


@dataclass(frozen=True)
class Architecture:
    """A backbone, its input (channels, height, width), its classes, and a choice for each stage.

    A stage may be a tuple of choices, one for each block. Two architectures of a backbone are equal
    when they build the same network: `stages` holds the one form of all spellings, so
    `hetconv(p=1)` reads `vanilla` there (see `network/canonical.py`). `str(architecture)` is its
    canonical text and identity; `key` is that text's digest, fit for file names and unique indices.
    `key_as_written` is the digest of what was given, under which 0.1.0 kept it.
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
        object.__setattr__(self, "_written", tuple(self.stages))
        backbone = BACKBONES.get(self.backbone)
        if backbone is not None and len(backbone.stages) == len(self.stages):
            stages = canonical_stages(backbone, self.input, tuple(self.stages))
            object.__setattr__(self, "stages", stages)

    def __str__(self) -> str:
        return self._text(self.stages)

    def _text(self, chosen: tuple[StageChoice, ...]) -> str:
        stages = " | ".join(
            "[" + ", ".join(map(str, stage)) + "]" if isinstance(stage, tuple) else str(stage)
            for stage in chosen
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
        return _digest(str(self))

    @property
    def key_as_written(self) -> str:
        """As `key`, of the stages as they were given: files of 0.1.0 have names of this kind."""
        written: tuple[StageChoice, ...] = self.__dict__["_written"]
        return _digest(self._text(written))

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


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


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
    # `type`, since isinstance takes True for an int.
    whole = isinstance(value, list | tuple) and all(type(number) is int for number in value)
    if not whole or len(value) != 3 or min(value) < 1 or max(value) > 65536:
        raise InputError(
            key,
            value,
            "it must be [channels, height, width], like [3, 224, 224], each from 1 to 65536",
        )
    return (value[0], value[1], value[2])


def check_classes(value: Any, key: str = "classes") -> int:
    """The number of classes, a whole number from 2 to 10,000,000, or InputError."""
    if type(value) is not int or not 2 <= value <= 10_000_000:
        raise InputError(key, value, "it must be a whole number from 2 to 10000000")
    return value
