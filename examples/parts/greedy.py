"""A strategy of one's own, in one file: change one thing in the best architecture so far.

`wishes` says what to try next, best first. That it is inside the budget and new, what happens when
the wishes run out, seeds and resuming are the base class's business.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import optuna

from convnas import FeasibleSet
from convnas.strategies import Strategy


class Greedy(Strategy):
    """After `startup` random architectures, neighbours of the best one."""

    def __init__(self, feasible: FeasibleSet[Any], *, seed: int = 0, startup: int = 4) -> None:
        super().__init__(feasible, seed=seed)
        self.startup = startup

    def wishes(
        self, study: optuna.Study, trial: optuna.trial.FrozenTrial, rng: np.random.Generator
    ) -> Iterator[tuple[int, ...]]:
        complete = study.get_trials(deepcopy=False, states=[optuna.trial.TrialState.COMPLETE])
        if len(complete) < self.startup:
            return  # no wish: anything inside the budget, uniformly
        best = max(complete, key=lambda each: each.values[0])
        neighbours = self.feasible.neighbour_indices(self.locate(best.params))
        yield from map(tuple, rng.permutation(neighbours).tolist())
