"""What a study has learned about the points of a feasible set."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from ..search_space.chain.chain import Indices, Ints

Floats = NDArray[np.float64]
Locate = Callable[[Mapping[str, Any]], Indices]
"""A trial's parameters -> its point; ValueError where they are of another space."""

_EVEN = 0.05
"""Weight of the sum beside the maximum (rho of ParEGO), so that of points with the same greatest
shortfall the one that is better in the rest wins."""


@dataclass(frozen=True, eq=False)
class Observations:
    """Points with a result, in the order of their trials.

    points: (n, n_positions) options; scores: (n,), higher is better.
    """

    points: Ints
    scores: Floats

    def __len__(self) -> int:
        return len(self.scores)

    @property
    def best_first(self) -> Ints:
        """(n,) numbers of the points; of equal ones the earlier first."""
        return np.argsort(-self.scores, kind="stable")


def history(study: Study, locate: Locate, rng: np.random.Generator) -> Observations:
    """The results of complete trials, and of pruned ones the last score they reported.

    Failed trials say nothing. Of several objectives one score is made, with weights from `rng`:
    each draw asks for another part of the Pareto front.
    """
    signs = [1.0 if d == StudyDirection.MAXIMIZE else -1.0 for d in study.directions]
    points, values = [], []
    for trial in study._storage.get_all_trials(study._study_id, deepcopy=False):
        told = _result(trial, len(signs))
        if told is not None and all(map(math.isfinite, told)):
            with contextlib.suppress(ValueError):  # of another space
                points.append(locate(trial.params))
                values.append(told)
    # numpy infers no -1 of an array without entries.
    found = np.array(points, dtype=np.int64).reshape(len(points), -1 if points else 0)
    goals = np.array(values, dtype=np.float64).reshape(-1, len(signs)) * signs
    return Observations(found, goals[:, 0] if len(signs) == 1 else _scalar(goals, rng))


def _result(trial: FrozenTrial, n_objectives: int) -> list[float] | None:
    if trial.state == TrialState.COMPLETE:
        return list(trial.values)
    if trial.state == TrialState.PRUNED and trial.intermediate_values and n_objectives == 1:
        return [trial.intermediate_values[max(trial.intermediate_values)]]
    return None


def _scalar(goals: Floats, rng: np.random.Generator) -> Floats:
    """(n, k), higher is better -> (n,): augmented Chebyshev (Knowles, ParEGO, 2006)."""
    weights = rng.dirichlet(np.ones(goals.shape[1]))
    if not len(goals):
        return np.zeros(0)
    spread = np.ptp(goals, axis=0)
    # (n, k) shortfalls as shares of each goal's spread, so that units play no part; a goal in which
    # all are alike falls short by 0.
    short = (goals.max(axis=0) - goals) / np.where(spread > 0, spread, 1.0) * weights
    return np.asarray(-short.max(axis=1) - _EVEN * short.sum(axis=1))
