"""Importing nni.nas: only when asked, quietly, and by one process at a time."""

from __future__ import annotations

import contextlib
import fcntl
import functools
import importlib
import importlib.util
import io
import logging
import os
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

_NEEDED = {"nas": ("pytorch_lightning",), "nas-rl": ("pytorch_lightning", "tianshou")}
"""Extra -> the packages that it brings and nni.nas cannot do without."""

ONE_SHOT = {
    f"nni-nas-{name}"
    for name in ("darts", "enas", "gumbel-darts", "proxyless", "random-one-shot", "one-shot")
}
"""Names under which somebody may look for NNI's one-shot strategies, which run no trials."""


def missing(extra: str) -> str | None:
    """What is to be said where a package that the extra brings is not installed; None: all is."""
    for package in _NEEDED[extra]:
        if importlib.util.find_spec(package) is None:
            return f"it needs {package}, which pip install 'convnas[{extra}]' brings"
    return None


@functools.cache
def load_nni_nas() -> None:
    """Import nni.nas, so that what follows may import from it. It takes seconds. ImportError."""
    with _alone(), warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
        # NNI says of torch's newer classes that they are no modules, tianshou's gym that it is old.
        warnings.simplefilter("ignore")
        importlib.import_module("nni.nas.strategy")


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """NNI logs to standard output, which may be somebody's JSON."""
    logger = logging.getLogger("nni")
    before = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(before)


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """On its first import for a torch version NNI writes a module into its own folder, which
    another process must not read half written."""
    path = Path(tempfile.gettempdir()) / f"convnas-nni-nas-{os.getuid()}.lock"
    with path.open("w") as file:
        # Let go when the file is closed, so also where the process dies.
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
