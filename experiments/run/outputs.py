"""What a user asks for with `-o` is written, but never over what a run lives on."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ...search_space.errors import InputError
from ...search_space.files import atomic_write
from .directory import KEPT, RunDirectory

_SQLITE = b"SQLite format 3\x00"


def write_out(path: Path, content: str | bytes) -> None:
    """As `atomic_write`, the folder made where it is missing. Raises InputError."""
    with refusals(path):
        check_target(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic_write(path, content)


def check_target(path: Path) -> None:
    """Raises InputError where a run's config, study or log, or any database, would be lost, and
    for a name that no file can have, before any work."""
    with refusals(path), suppress(FileNotFoundError):
        path.lstat()
    if path.name in KEPT and RunDirectory(path.parent).exists:
        allowed = f"{path.parent} is a run, and this is a file it lives on; choose another name"
        raise InputError("out", str(path), allowed)
    if os.path.isfile(path):
        with path.open("rb") as file:
            if file.read(len(_SQLITE)) == _SQLITE:
                allowed = "a database lies there (a study?); choose another name"
                raise InputError("out", str(path), allowed)


@contextmanager
def refusals(path: Path) -> Iterator[None]:
    """What the system says against writing to `path`, as InputError."""
    try:
        yield
    except OSError as e:
        raise InputError("out", str(path), f"it cannot be written: {e.strerror}") from e
