"""Strategies that learn nothing: what every other one has to beat."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from optuna.study import Study
from optuna.trial import FrozenTrial

from ..search_space.chain.chain import Indices
from .base import Strategy


class RandomStrategy(Strategy):
    """Uniform over the points within the budget that have not been tried."""

    def wishes(
        self, study: Study, trial: FrozenTrial, rng: np.random.Generator
    ) -> tuple[Indices, ...]:
        return ()


class ExhaustiveStrategy(Strategy):
    """The whole feasible set, in ascending order of the first cost; the seed plays no part."""

    def wishes(
        self, study: Study, trial: FrozenTrial, rng: np.random.Generator
    ) -> Iterator[Indices]:
        tried = self.tried(study, trial)
        # From the beginning each time, since nothing is remembered between proposals: we accept
        # that a proposal takes longer the more was tried. Filtered here, or repeats would use up
        # `tries`.
        return (point for point in self.feasible.indices_in_order() if point not in tried)
