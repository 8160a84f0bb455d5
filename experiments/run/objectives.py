"""What a search is after: accuracy alone, or accuracy and costs at once, as a Pareto front.

`objectives: [accuracy, flops]` in the config. `latency` is that of the run's latency table, in
milliseconds. The budget stays hard whatever the objectives.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from optuna.trial import FrozenTrial, TrialState

from ...search_space import Architecture, cost
from ...search_space.errors import InputError

Direction = Literal["maximize", "minimize"]

ACCURACY = "accuracy"
METRIC_NAMES = "study:metric_names"
"""Where `Study.set_metric_names`, which warns that it is experimental, writes."""

COSTS = ("flops", "params", "activations")


def check_objectives(objectives: Sequence[str]) -> None:
    """Raises InputError. The first is accuracy; others: a cost, or a metric of the evaluator."""
    if not objectives or objectives[0] != ACCURACY:
        costs = ", ".join(COSTS)
        allowed = f"the first must be accuracy; then {costs}, latency or a metric's name"
        raise InputError("objectives", list(objectives), allowed)
    if len(set(objectives)) != len(objectives):
        raise InputError("objectives", list(objectives), "each of them once")


def directions(objectives: Sequence[str]) -> list[Direction]:
    """Accuracy is maximised; costs and measured metrics (latency, memory) are minimised."""
    return ["maximize" if name == ACCURACY else "minimize" for name in objectives]


def values(
    objectives: Sequence[str],
    score: float,
    architecture: Architecture,
    metrics: Mapping[str, float],
) -> list[float]:
    """A trial's values. ValueError, in plain words, for a metric that is missing or no number."""
    found = [score]
    counted = cost(architecture) if set(objectives) & set(COSTS) else None
    for name in objectives[1:]:
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


def front(trials: Iterable[FrozenTrial], objectives: Sequence[str]) -> list[FrozenTrial]:
    """Complete trials that no other beats in one objective without losing in another.

    Best accuracy first; of trials with equal values the earliest alone.
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
