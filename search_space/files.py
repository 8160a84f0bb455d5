"""Files: written so that a reader, or a crash, never meets half of one, and read with care."""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path
from typing import Any

from .errors import InputError
from .strict_yaml import parse_yaml

_MOST_BYTES = 16 * 2**20
"""Of a file that is read as text, a device's included: more than any config or table has."""


def atomic_write(path: str | os.PathLike[str], content: str | bytes) -> None:
    """Put `content` (text as UTF-8) at `path`: the old file or the new one, never a part.

    It is written and synced under a temporary name in the same directory and then renamed, so a
    crash leaves at most a hidden `.*.tmp` file. The directory must exist (FileNotFoundError).
    """
    target = Path(path)
    data = content.encode() if isinstance(content, str) else content
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(6)}.tmp")
    try:
        with open(temporary, "xb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        # The directory is not synced: after a power cut the old file may be back, but whole.
        os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def read_yaml(path: str | os.PathLike[str]) -> Any:
    """The plain data of a YAML (so also JSON) file. InputError in one line if it cannot be read."""
    text = _read_text(path)
    try:
        return parse_yaml(text)
    except ValueError as e:
        raise InputError(str(path), "this file", f"it is not YAML: {e}") from e


def read_json(path: str | os.PathLike[str]) -> Any:
    """The plain data of a JSON file, faster than as YAML. InputError as there."""
    if Path(path).exists() and not Path(path).is_file():
        raise InputError(str(path), "this file", "it is no regular file")
    text = _read_text(path)
    try:
        return json.loads(text, object_pairs_hook=_once_each)
    except RecursionError as e:
        raise InputError(str(path), "this file", "it is nested too deeply") from e
    except ValueError as e:
        raise InputError(str(path), "this file", f"it is not JSON: {e}") from e


def _read_text(path: str | os.PathLike[str]) -> str:
    try:
        with Path(path).open("rb") as file:
            # One byte more tells that it is too large, of a device too, which
            # has no size to ask for.
            content = file.read(_MOST_BYTES + 1)
        # Before it is decoded: the cut may be inside a character.
        if len(content) > _MOST_BYTES:
            allowed = f"it cannot be read: it has more than {_MOST_BYTES >> 20} MiB"
            raise InputError(str(path), "this file", allowed)
        return content.decode()
    except OSError as e:
        raise InputError(str(path), "this file", f"it cannot be read: {e.strerror}") from e
    except UnicodeDecodeError as e:
        raise InputError(str(path), "this file", "it cannot be read: it is not UTF-8 text") from e
    except ValueError as e:  # a NUL in its name
        raise InputError(str(path), "this file", f"it cannot be read: {e}") from e


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice[:60]!r} is there twice")
    return content
