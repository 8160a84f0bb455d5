"""An evaluator of one's own: `evaluator: {name: "python:my_module:my_evaluator", ...}`.

`my_evaluator` is called once in each worker with the config's other evaluator settings, the config's
data section, and keywords input, classes, device and seed; it returns an object with `evaluate`, as
`evaluators.Evaluator` says. Any other name is one of the built-in evaluators.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..search_space.errors import InputError

if TYPE_CHECKING:
    from ..evaluators import Evaluator

_PREFIX = "python:"
_FORM = "it must be python:MODULE:NAME, importable from here or from the current folder"


def create_evaluator(
    evaluator: Mapping[str, Any],
    data: Mapping[str, Any],
    *,
    input: tuple[int, int, int],
    classes: int,
    device: str,
    seed: int,
) -> Evaluator:
    """Raises InputError where settings, data, input and device do not fit together."""
    from .. import evaluators

    where: dict[str, Any] = {"input": input, "classes": classes, "device": device, "seed": seed}
    if not _is_hook(evaluator):
        return evaluators.create(evaluator, data, **where)
    settings = {name: value for name, value in evaluator.items() if name != "name"}
    made: Evaluator = _load(evaluator["name"])(settings, dict(data), **where)
    return made


def check_evaluator(evaluator: Mapping[str, Any], data: Mapping[str, Any]) -> None:
    """Raises InputError for settings that mean nothing, without loading any data."""
    from .. import evaluators

    if _is_hook(evaluator):
        _load(evaluator["name"])
    else:
        evaluators.check_settings(evaluator, data)


def _is_hook(evaluator: Mapping[str, Any]) -> bool:
    return str(evaluator.get("name")).startswith(_PREFIX)


def _load(name: str) -> Any:
    module, _, attribute = name.removeprefix(_PREFIX).partition(":")
    if os.getcwd() not in sys.path:
        # An installed command does not look there; the worker, started with -m, does.
        sys.path.append(os.getcwd())
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as e:
        raise InputError("evaluator.name", name, f"{_FORM} ({e})") from e
