"""Writing a file so that a reader, or a crash, never meets half of it."""

from __future__ import annotations

import os
import secrets
from pathlib import Path


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
