"""What was measured, kept with the code that it was measured on.

`sources.yaml` says of every result which files its numbers depend on. A result keeps a digest of
each, so that `stale.py` can tell which results are older than the code. A digest is of the code
alone: comments, docstrings, imports and layout are left out, and a file that moved is the same
file.
"""

from __future__ import annotations

import datetime
import hashlib
import io
import json
import subprocess
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
SOURCES = ROOT / "benchmarks" / "sources.yaml"


def keep(name: str, result: dict[str, Any], folder: Path | None = None) -> None:
    """Write NAME with `made` (date, commit, digests) into `folder`, by default results.

    A name that `sources.yaml` does not list is kept without digests, and a test asks for it: what
    was measured is not lost. Code that is changed while a measurement runs would be taken for what
    was measured: do not.
    """
    made = {
        "date": datetime.date.today().isoformat(),
        "commit": _commit(),
        "sources": digests(name) if name in known() else {},
    }
    path = (folder or RESULTS) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**result, "made": made}, indent=1) + "\n")


def digests(name: str) -> dict[str, str]:
    """Digest -> path of every file that the result depends on. KeyError where none are listed."""
    found = {}
    for glob in _flat(known()[name]["sources"]):
        # An `__init__.py` here holds imports and a list of names alone.
        paths = sorted(path for path in ROOT.glob(glob) if path.name != "__init__.py")
        if not paths:
            raise FileNotFoundError(f"{SOURCES.name}: {name}: no file is {glob}")
        for path in paths:
            found[digest(path)] = str(path.relative_to(ROOT))
    return found


def known() -> dict[str, Any]:
    """Result -> its sources and the command that measures it again."""
    content: dict[str, Any] = yaml.safe_load(SOURCES.read_text())["results"]
    return content


def _flat(sources: list[Any]) -> Iterator[str]:
    for source in sources:
        yield from _flat(source) if isinstance(source, list) else (source,)


def digest(path: Path) -> str:
    """12 hexadecimal digits; of a Python file's code, of any other file's bytes."""
    content = path.read_bytes()
    if path.suffix == ".py":
        content = "\n".join(_statements(content.decode())).encode()
    return hashlib.sha256(content).hexdigest()[:12]


def _statements(code: str) -> Iterator[str]:
    """Logical lines without comments, docstrings, imports and spaces, the same in every Python."""
    line: list[tokenize.TokenInfo] = []
    depth = 0
    for token in tokenize.generate_tokens(io.StringIO(code).readline):
        if token.type == tokenize.INDENT:
            depth += 1
        elif token.type == tokenize.DEDENT:
            depth -= 1
        elif token.type in (tokenize.NEWLINE, tokenize.ENDMARKER):
            docstring = all(each.type == tokenize.STRING for each in line)
            if not docstring and line[0].string not in ("import", "from"):
                text = "".join("".join(each.string.split()) for each in line)
                # Within an f-string newer tokenizers give a doubled brace once.
                yield f"{depth} {text.replace('{{', '{').replace('}}', '}')}"
            line = []
        elif token.type not in (tokenize.COMMENT, tokenize.NL):
            line.append(token)


def _commit() -> str:
    """12 digits, with + where files were changed since; a machine may have no git."""
    try:
        head = _git("rev-parse", "--short=12", "HEAD")
        return head + ("+" if _git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _git(*command: str) -> str:
    done = subprocess.run(["git", *command], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.strip()
