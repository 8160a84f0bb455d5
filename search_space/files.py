"""Files: written so that a reader, or a crash, never meets half of one, and read with care."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Any

import yaml

from .errors import InputError


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
        os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def read_yaml(path: str | os.PathLike[str]) -> Any:
    """The plain data of a YAML (so also JSON) file. InputError in one line if it cannot be read."""
    try:
        return yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as e:
        raise InputError(str(path), "this file", f"it cannot be read: {e.strerror}") from e
    except UnicodeDecodeError as e:
        raise InputError(str(path), "this file", "it cannot be read: it is not UTF-8 text") from e
    except (yaml.YAMLError, ValueError, RecursionError) as e:
        reason = " ".join(str(e).split())
        raise InputError(str(path), "this file", f"it is not YAML: {reason}") from e
