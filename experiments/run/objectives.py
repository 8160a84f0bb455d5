"""What a search is after: a metric alone, or it and others at once, as a Pareto front.

`objectives: [accuracy, flops]` in the config, or `{name: macro_f1, direction: maximize}`. The first
is a metric of the evaluator that is maximised: a trial's score. `latency` is that of the run's
latency table, in milliseconds. The budget stays hard whatever the objectives.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from optuna.trial import FrozenTrial, TrialState

from ...evaluators.base import ACCURACY
from ...evaluators.training.metrics import is_class_metric
from ...search_space import Architecture, cost
from ...search_space.errors import InputError
from ..config.sections import Objective

Direction = Literal["maximize", "minimize"]

METRIC_NAMES = "study:metric_names"
"""Where `Study.set_metric_names`, which warns that it is experimental, writes."""

COSTS = ("flops", "params", "activations")


def check_objectives(objectives: Sequence[Objective]) -> None:
    """Raises InputError. The first is a metric to maximise; others: a cost, or a metric."""
    names = [objective.name for objective in objectives]
    if not objectives or names[0] in (*COSTS, "latency"):
        costs = ", ".join(COSTS)
        allowed = f"the first must be accuracy or another metric; then {costs}, latency or a metric"
        raise InputError("objectives", names, allowed)
    if len(set(names)) != len(names):
        raise InputError("objectives", names, "each of them once")
    for place, objective in enumerate(objectives):
        own = _own_direction(objective.name)
        if place == 0 and objective.direction == "minimize" and own is None:
            allowed = "the first objective is maximised: give a loss as its negative"
            raise InputError("objectives.0.direction", "minimize", allowed)
        if own and objective.direction not in (own, None):
            allowed = f"{objective.name} is to {own}"
            raise InputError(f"objectives.{place}.direction", objective.direction, allowed)


def measured(objectives: Sequence[Objective]) -> list[str]:
    """The names of those that the evaluator measures; the others are known beforehand."""
    return [each.name for each in objectives if each.name not in (*COSTS, "latency")]


def directions(objectives: Sequence[Objective]) -> list[Direction]:
    """As the config says; else the first and qualities such as accuracy and recall are maximised,
    costs and other metrics (latency, memory) minimised."""
    own = [_own_direction(each.name) or "minimize" for each in objectives[1:]]
    return ["maximize", *(e.direction or way for e, way in zip(objectives[1:], own, strict=True))]


def _own_direction(name: str) -> Direction | None:
    """None of a metric that may be either."""
    if name in (*COSTS, "latency"):
        return "minimize"
    quality = name in (ACCURACY, "int8_accuracy") or is_class_metric(name)
    return "maximize" if quality else None


def score_name(objective: str) -> str:
    """What pages call a score: an evaluator's may be another than the accuracy."""
    return "score" if objective == ACCURACY else objective


def values(
    objectives: Sequence[Objective],
    score: float,
    architecture: Architecture,
    metrics: Mapping[str, float],
) -> list[float]:
    """A trial's values. ValueError, in plain words, for a metric that is missing or no number."""
    found = [score]
    names = [objective.name for objective in objectives]
    counted = cost(architecture) if set(names) & set(COSTS) else None
    for name in names[1:]:
        if name in COSTS:
            found.append(float(getattr(counted, name)))
        elif name not in metrics:
            known = ", ".join(sorted(metrics)) or "none"
            raise ValueError(f"the evaluator measures no {name}; its metrics: {known}")
        elif not math.isfinite(metrics[name]):
            raise ValueError(f"its {name} is {metrics[name]}")
        else:
            found.append(metrics[name])
    return found


def front(trials: Iterable[FrozenTrial], objectives: Sequence[Objective]) -> list[FrozenTrial]:
    """Complete trials that no other beats in one objective without losing in another.

    Best score first; of trials with equal values the earliest alone.
    """
    signs = [-1.0 if way == "maximize" else 1.0 for way in directions(objectives)]
    complete = [t for t in trials if t.state == TrialState.COMPLETE and t.values is not None]
    losses: dict[int, tuple[float, ...]] = {
        t.number: tuple(s * v for s, v in zip(signs, t.values, strict=True)) for t in complete
    }
    kept: list[FrozenTrial] = []
    # In this order whatever dominates a trial comes before it.
    for trial in sorted(complete, key=lambda t: (losses[t.number], t.number)):
        mine = losses[trial.number]
        if not any(_covers(losses[other.number], mine) for other in kept):
            kept.append(trial)
    return kept


def _covers(one: tuple[Any, ...], other: tuple[Any, ...]) -> bool:
    """Whether `one` is nowhere worse, both as losses; equal ones cover each other."""
    return all(a <= b for a, b in zip(one, other, strict=True))
