"""Modules of the user's own that register operators: `plugins: [my_operators]` in a config.

Every process of an experiment imports them. For commands that read an architecture file alone, the
environment variable CONVNAS_PLUGINS names them, with commas between.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence

from ...search_space.errors import InputError

VARIABLE = "CONVNAS_PLUGINS"


def load_plugins(names: Sequence[str], key: str = "plugins") -> None:
    """Import these modules, also from the current folder. Raises InputError."""
    for name in names:
        if os.getcwd() not in sys.path:
            # An installed command does not look there; a worker, started with -m, does.
            sys.path.append(os.getcwd())
        try:
            importlib.import_module(name)
        except InputError:
            raise
        except Exception as e:
            allowed = f"a module that can be imported ({type(e).__name__}: {e})"
            raise InputError(key, name, allowed) from e


def load_from_environment() -> None:
    """The modules that CONVNAS_PLUGINS names. Raises InputError."""
    named = os.environ.get(VARIABLE, "")
    load_plugins([name.strip() for name in named.split(",") if name.strip()], VARIABLE)
