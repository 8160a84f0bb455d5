"""Something of the user's own, named in a config as `python:MODULE:NAME`."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

from ..search_space import InputError

_PREFIX = "python:"
_FORM = "it must be python:MODULE:NAME, importable from here or from the current folder"


def is_hook(name: object) -> bool:
    return isinstance(name, str) and name.startswith(_PREFIX)


def load_hook(name: str, key: str) -> Any:
    """What the name stands for. InputError, under `key`, where it cannot be imported."""
    module, _, attribute = name.removeprefix(_PREFIX).partition(":")
    if os.getcwd() not in sys.path:
        # An installed command does not look there; a worker, started with -m, does.
        # At the end, so that nothing installed is hidden by a file here.
        sys.path.append(os.getcwd())
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as e:
        raise InputError(key, name, f"{_FORM} ({e})") from e
