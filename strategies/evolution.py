"""Regularised evolution (Real et al., AAAI 2019, arXiv 1802.01548): the oldest dies."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from optuna.study import Study
from optuna.trial import FrozenTrial

from ..search_space.chain.chain import Chain, Indices, Ints
from ..search_space.errors import InputError
from ..search_space.feasible.feasible_set import FeasibleSet
from .base import Strategy
from .history import history


class EvolutionStrategy(Strategy):
    """Mutates, at one position, the best of a few drawn from the latest results.

    population: how many of the latest results are alive (the first as many are uniform over the
    budget); sample: how many of them compete to be the parent.
    """

    def __init__(
        self, feasible: FeasibleSet[Any], *, seed: int = 0, population: int = 20, sample: int = 5
    ) -> None:
        super().__init__(feasible, seed=seed)
        if population < 1:
            raise InputError("population", population, "it must be at least 1")
        if not 1 <= sample <= population:
            raise InputError("sample", sample, f"it must be from 1 to population, {population}")
        self.population, self.sample = population, sample

    def wishes(
        self, study: Study, trial: FrozenTrial, rng: np.random.Generator
    ) -> Iterator[Indices]:
        past = history(study, self.locate, rng)
        if len(past) < self.population:
            return
        # By age, not by score: a result dies when it falls out of this window.
        points, scores = past.points[-self.population :], past.scores[-self.population :]
        # Endless: the caller reads as many wishes as it will hear.
        while True:
            rivals = rng.choice(self.population, self.sample, replace=False)
            parent = points[rivals[np.argmax(scores[rivals])]]
            yield mutated(self.feasible.chain, parent, rng)


def mutated(chain: Chain, parent: Ints, rng: np.random.Generator) -> Indices:
    """`parent` with another option at one position, whatever it costs."""
    open_places = np.flatnonzero(np.array(chain.shape) > 1)
    child = parent.copy()
    if len(open_places):
        place = int(rng.choice(open_places))
        # A shift of at least 1 and less than a full turn: never the same option, the others evenly.
        child[place] = (child[place] + rng.integers(1, chain.shape[place])) % chain.shape[place]
    return tuple(child.tolist())
