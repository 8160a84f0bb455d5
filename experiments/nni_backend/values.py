"""What a trial reports to NNI: its score as `default`, and beside it what is shown as columns."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from ...evaluators.base import ACCURACY
from ..run.study import metrics_of
from ..workers.events import Scored

_SHOWN = ("loss", "seconds")
"""The metrics that become columns, beside objectives and all whose names start with latency."""


def final_value(trial: FrozenTrial, objectives: Sequence[str] = ()) -> dict[str, float]:
    """The final result of a trial that has its score: flops, params, latency and the objectives'
    metrics become columns."""
    attrs = trial.user_attrs
    value = {"default": float(attrs["score"])}
    for name in ("flops", "params"):
        if name in attrs:
            value[name] = attrs[name]
    metrics = metrics_of(trial)
    # Accuracy is what `default` is where nothing else is said.
    shown = {*_SHOWN, *objectives} - {ACCURACY}
    value |= {m: metrics[m] for m in metrics if m in shown or m.startswith("latency")}
    if trial.state == TrialState.PRUNED or attrs.get("pruned"):
        value["pruned"] = 1
    return value


def scored(number: int, value: Any, curve: tuple[float, ...]) -> Scored:
    """The final result `value` of trial `number`, also where a script of its own reported it.

    Raises ValueError where there is no score in it.
    """
    metrics = dict(value) if isinstance(value, Mapping) else {"default": value}
    try:
        score = float(metrics.pop("default"))
    except (KeyError, TypeError, ValueError, OverflowError) as e:
        raise ValueError(f"its final result has no score: {repr(value)[:200]}") from e
    pruned = bool(metrics.pop("pruned", False))
    for cost in ("flops", "params"):
        metrics.pop(cost, None)  # the study has counted them
    numbers = {}
    for name, given in metrics.items():
        if isinstance(given, int | float):
            with suppress(OverflowError):  # a whole number that no float reaches
                numbers[str(name)] = float(given)
    return Scored(number, score, numbers, curve, pruned)


def point(data: str) -> float | None:
    """The score in an intermediate result as NNI keeps it, JSON; None where it has none."""
    try:
        value = json.loads(data)
        return float(value["default"] if isinstance(value, dict) else value)
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
