"""A table of evaluations: a whole small space, trained once, kept in one compressed file.

The file is gzipped JSON, a line each: first the header (what was evaluated, how, on what), then an
architecture's stages with one record for every seed. A record holds the metrics after every epoch,
or the reason why there are none. Numbers are kept to five significant digits.
"""

from __future__ import annotations

import gzip
import json
import os
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ..search_space import Architecture, InputError
from ..search_space.backbones import get_backbone
from ..search_space.files import atomic_write

FORMAT = 1
BUILT_IN = Path(__file__).parent / "tables"
"""Tables that come with the package, each under its name."""

_MOST_BYTES = 2**30
"""Unpacked; the most that convnas tabulate makes is a million trainings."""
_DAMAGE = (
    *(OSError, EOFError, zlib.error, ValueError, TypeError, KeyError, AttributeError),
    *(OverflowError, RecursionError, MemoryError),
)
"""What comes of a file that is not a whole table."""
_SUFFIX = ".table.gz"


@dataclass(frozen=True)
class TableRow:
    """One evaluation. `epochs`: metrics after each; `reason`: why it failed, else None."""

    epochs: tuple[Mapping[str, float], ...]
    metrics: Mapping[str, float]
    reason: str | None = None

    def to_json(self) -> dict[str, Any]:
        """A list for each metric, so that its name is written once and not in every epoch."""
        if self.reason is not None:
            return {"reason": self.reason}
        names = self.epochs[0] if self.epochs else ()
        columns = {name: [_short(epoch[name]) for epoch in self.epochs] for name in names}
        metrics = {name: _short(value) for name, value in self.metrics.items()}
        return {"epochs": columns, "metrics": metrics}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> TableRow:
        """The inverse. What is no record raises any of `_DAMAGE`."""
        if "reason" in content:
            return cls((), {}, str(content["reason"]))
        columns = content["epochs"]
        rows = zip(*columns.values(), strict=True)
        epochs = tuple(dict(zip(columns, row, strict=True)) for row in rows)
        return cls(epochs, content["metrics"])


@dataclass(frozen=True)
class Table:
    """`header`: config and conditions, plain data. `rows`: stages' text -> a record a seed."""

    header: Mapping[str, Any]
    rows: Mapping[str, Sequence[TableRow]]

    def of(self, arch: Architecture) -> Sequence[TableRow] | None:
        """The records of an architecture, None where the table does not hold it."""
        if arch.backbone != self.header["space"]["backbone"]:
            return None
        text = stages_text(arch)
        return self.rows[text] if text in self.rows else self._by_form.get(text)

    @cached_property
    def _by_form(self) -> Mapping[str, Sequence[TableRow]]:
        """Canonical text -> rows, for tables of 0.1.0, whose rows may have another spelling."""
        space = self.header["space"]
        return {canonical_text(space, text): records for text, records in self.rows.items()}

    def save(self, path: Path) -> None:
        """Write the file, the same bytes for the same content."""
        lines = [json.dumps(dict(self.header), separators=(",", ":"))]
        lines += [
            json.dumps([stages, [record.to_json() for record in records]], separators=(",", ":"))
            for stages, records in self.rows.items()
        ]
        atomic_write(path, gzip.compress("\n".join(lines).encode() + b"\n", 9, mtime=0))

    @classmethod
    def load(cls, name: str) -> Table:
        """From a path, or a built-in table's name. InputError where it is not a whole table."""
        built_in = BUILT_IN / f"{name}{_SUFFIX}"
        path = built_in if os.path.isfile(built_in) else Path(name)
        try:
            if os.path.exists(path) and not os.path.isfile(path):
                raise ValueError("it is no regular file")
            with gzip.open(path) as file:
                # A small file can unpack to more than there is memory.
                packed = file.read(_MOST_BYTES + 1)
            if len(packed) > _MOST_BYTES:
                raise ValueError(f"it unpacks to more than {_MOST_BYTES >> 20} MiB")
            lines = packed.decode().splitlines()
            header, *rows = map(json.loads, lines)
            if header["convnas_table"] != FORMAT:
                raise ValueError(f"it has format {header['convnas_table']}, not {FORMAT}")
            content = {
                stages: [TableRow.from_json(record) for record in records]
                for stages, records in rows
            }
            # No mapping has no `items`, which counts as damage.
            for key in ("space", "data", "evaluator"):
                header[key].items()
        except FileNotFoundError:
            known = ", ".join(built_in_tables())
            allowed = f"the path of a table that convnas tabulate made, or a built-in one: {known}"
            raise InputError("evaluator.table", name, allowed) from None
        except _DAMAGE as e:
            reason = f"{type(e).__name__}: {e}"[:200]
            allowed = f"a whole file of convnas tabulate is needed ({reason})"
            raise InputError("evaluator.table", name, allowed) from e
        return cls(header, content)


def built_in_tables() -> list[str]:
    return sorted(path.name.removesuffix(_SUFFIX) for path in BUILT_IN.glob(f"*{_SUFFIX}"))


def stages_text(arch: Architecture) -> str:
    """An architecture's stages alone, as in its canonical text."""
    return str(arch).partition(": ")[2]


def canonical_text(space: Mapping[str, Any], text: str) -> str:
    """The `stages_text` of an architecture of `space` in whatever spelling, and before it what
    else the text begins with. A text that is none is left as it is."""
    try:
        count = len(get_backbone(space["backbone"]).stages)
        parts = text.split(" | ")
        size = "x".join(map(str, space["input"]))
        given = f"{space['backbone']} {size} {space['classes']}: {' | '.join(parts[-count:])}"
        return " | ".join([*parts[:-count], stages_text(Architecture.parse(given))])
    except InputError:
        return text


def _short(value: float) -> float:
    return float(f"{value:.5g}")
