"""Strategies that learn nothing: what every other one has to beat."""

from __future__ import annotations

import numpy as np
from optuna.study import Study
from optuna.trial import FrozenTrial

from ..search_space.chain import Indices
from .base import Strategy


class RandomStrategy(Strategy):
    """Uniform over the points within the budget that have not been tried."""

    def wishes(
        self, study: Study, trial: FrozenTrial, rng: np.random.Generator
    ) -> tuple[Indices, ...]:
        return ()
