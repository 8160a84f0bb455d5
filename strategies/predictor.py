"""Our own strategy: a model scored over everything inside the budget."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import Any

import numpy as np
from optuna.study import Study
from optuna.trial import FrozenTrial

from ..search_space.chain.chain import Indices, Ints
from ..search_space.errors import InputError
from ..search_space.feasible.feasible_set import FeasibleSet
from .base import Strategy
from .gaussian_process import Describer, GaussianProcess
from .history import Observations, history

_ALL = 20_000
_SAMPLES = 4096
_PARENTS = 16
_MOST_LEARNED = 1000
_SHORTLIST = 1024
_DRAWS = 16


class PredictorStrategy(Strategy):
    """Tries the point with the best predicted score, of all points or of the promising ones.

    The first `startup` points are drawn half from the dearest fifth of the set (cost predicts
    accuracy, except at the top), half from the whole space, each moved to the nearest point of the
    set (so that the tighter the budget is, the more of them lie at its edge); each is the one of a
    few draws whose labels were used least. Then a share `explore` of the trials is uniform, and the
    others maximise mean + `optimism` standard deviations of a Gaussian process. Up to 20,000 points
    all are scored; above that, exact samples and the neighbours of the best.
    """

    def __init__(
        self,
        feasible: FeasibleSet[Any],
        *,
        seed: int = 0,
        startup: int = 10,
        explore: float = 0.02,
        optimism: float = 1.0,
    ) -> None:
        super().__init__(feasible, seed=seed)
        if startup < 2:
            raise InputError("startup", startup, "it must be at least 2")
        if not 0 <= explore <= 1:
            raise InputError("explore", explore, "it must be from 0 to 1")
        if not 0 <= optimism < np.inf:
            raise InputError("optimism", optimism, "it must be at least 0")
        self.startup, self.explore, self.optimism = startup, explore, optimism
        self._describe = Describer(feasible.chain)
        self._ranked: tuple[bytes, Ints] | None = None

    def wishes(
        self, study: Study, trial: FrozenTrial, rng: np.random.Generator
    ) -> Iterable[Indices]:
        tried = self.tried(study, trial)
        past = history(study, self.locate, rng)
        if len(tried) < self.startup or len(past) < 2:
            return self._warm_up(tried, rng)
        if rng.random() < self.explore:
            return ()
        return (point for point in self._best_first(past) if point not in tried)

    def _warm_up(self, tried: set[Indices], rng: np.random.Generator) -> Iterator[Indices]:
        draw = self._moved_inside if len(tried) % 2 else self._dear.sample_indices
        used = np.array(sorted(tried)).reshape(-1, len(self.feasible.chain))
        while True:
            drawn = draw(rng, _DRAWS)
            alike = (drawn[:, None, :] == used).sum(axis=(1, 2))
            yield tuple(drawn[np.argmin(alike)].tolist())

    def _moved_inside(self, rng: np.random.Generator, n: int) -> Ints:
        """(n, n_positions) uniform over the whole space, then the nearest inside the budget."""
        options = [len(place.options) for place in self.feasible.chain.positions]
        drawn = rng.integers(options, size=(n, len(options)))
        for i in np.flatnonzero(~self.feasible.feasible(drawn)):
            drawn[i] = self.feasible.repair_indices(drawn[i].tolist())
        return drawn

    @cached_property
    def _dear(self) -> FeasibleSet[Any]:
        return self.feasible.top(0.2)

    @cached_property
    def _everything(self) -> Ints | None:
        """(n, n_positions) the whole set, None where it is too large."""
        if not self.feasible.holds_at_most(_ALL):
            return None
        return np.array(list(self.feasible.indices_in_order()))

    def _best_first(self, past: Observations) -> Iterator[Indices]:
        # The ranking depends on the results alone, so trials that are asked for between two of
        # them share it.
        key = past.points.tobytes() + past.scores.tobytes()
        if self._ranked is None or self._ranked[0] != key:
            self._ranked = key, self._ranking(past)
        for start in range(0, len(self._ranked[1]), 64):
            yield from map(tuple, self._ranked[1][start : start + 64].tolist())

    def _ranking(self, past: Observations) -> Ints:
        best = past.best_first[:_MOST_LEARNED]
        known = self._describe(past.points[best])
        model = GaussianProcess(self._describe, known, past.scores[best])
        if self._everything is not None:
            return self._by_promise(model, self._everything)
        rng = np.random.default_rng((self.seed, len(past), 2))
        pool = self.feasible.sample_indices(rng, _SAMPLES)
        for parents in (past.points[best[:_PARENTS]], None):
            if parents is None:
                parents = self._by_promise(model, pool)[:_PARENTS]
            around = [self.feasible.neighbour_indices(parent) for parent in parents.tolist()]
            pool = np.unique(np.concatenate([pool, *around]), axis=0)
        return self._by_promise(model, pool)

    def _by_promise(self, model: GaussianProcess, points: Ints) -> Ints:
        """The most promising of `points`, best first."""
        described = self._describe(points)
        means = model.mean(described)
        first = np.argsort(-means, kind="stable")[:_SHORTLIST]
        promise = means[first] + self.optimism * model.deviation(described[first])
        return np.asarray(points[first[np.argsort(-promise, kind="stable")]])
