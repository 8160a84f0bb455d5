"""Another interpreter, in which there is no convnas, whatever way it was installed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

_ALONE = """
import importlib.util, os, sys
sys.path[:] = [p for p in sys.path if not os.path.isdir(os.path.join(p or ".", "convnas"))]
sys.meta_path[:] = [f for f in sys.meta_path if "editable" not in repr(f).lower()]
sys.path.insert(0, os.getcwd())
assert importlib.util.find_spec("convnas") is None
"""


def printed(code: str, folder: Path) -> list[str]:
    """The lines that `code` prints there, in this folder."""
    command = [sys.executable, "-W", "ignore", "-c", _ALONE + code]
    done = subprocess.run(command, check=False, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.fixture(name="printed", scope="session")
def _printed() -> Callable[[str, Path], list[str]]:
    return printed
