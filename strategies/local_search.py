"""Local search (White et al., 2020, arXiv 2005.02960): look around the best that is known."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from optuna.study import Study
from optuna.trial import FrozenTrial

from ..search_space.chain.chain import Indices
from ..search_space.errors import InputError
from ..search_space.feasible.feasible_set import FeasibleSet
from .base import Strategy
from .history import history


class LocalSearchStrategy(Strategy):
    """Tries the neighbours of the best point, then of the next best, in random order.

    startup: how many results, uniform over the budget, it waits for.
    """

    def __init__(self, feasible: FeasibleSet[Any], *, seed: int = 0, startup: int = 10) -> None:
        super().__init__(feasible, seed=seed)
        if startup < 1:
            raise InputError("startup", startup, "it must be at least 1")
        self.startup = startup

    def wishes(
        self, study: Study, trial: FrozenTrial, rng: np.random.Generator
    ) -> Iterator[Indices]:
        past = history(study, self.locate, rng)
        if len(past) < self.startup:
            return
        tried = self.tried(study, trial)
        for best in past.best_first:
            around = self.feasible.neighbour_indices(past.points[best].tolist())
            for row in map(tuple, rng.permutation(around).tolist()):
                # Left out here, since only a few wishes are heard and repeats would use them up.
                if row not in tried:
                    yield row
