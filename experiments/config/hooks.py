"""An evaluator of one's own: `evaluator: {name: "python:my_module:my_evaluator", ...}`.

`my_evaluator` is called once in each worker with the config's other evaluator settings, the config's
data section, and keywords input, classes, device and seed; it returns an object with `evaluate`, as
`evaluators.Evaluator` says. Any other name is one of the built-in evaluators.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ...evaluators import Evaluator


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
    from ... import evaluators
    from ...evaluators.hook import is_hook, load_hook

    where: dict[str, Any] = {"input": input, "classes": classes, "device": device, "seed": seed}
    if not is_hook(evaluator.get("name")):
        return evaluators.create(evaluator, data, **where)
    settings = {name: value for name, value in evaluator.items() if name != "name"}
    made: Evaluator = load_hook(evaluator["name"], "evaluator.name")(settings, dict(data), **where)
    return made


def check_evaluator(evaluator: Mapping[str, Any], data: Mapping[str, Any]) -> None:
    """Raises InputError for settings that mean nothing, without loading any data."""
    from ... import evaluators
    from ...evaluators.hook import is_hook, load_hook

    if is_hook(evaluator.get("name")):
        load_hook(evaluator["name"], "evaluator.name")
    else:
        evaluators.check_settings(evaluator, data)
