"""Our own strategy: a model scored over everything inside the budget."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import Any

import numpy as np
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from ..search_space.chain.chain import Indices, Ints
from ..search_space.errors import InputError
from ..search_space.feasible.feasible_set import FeasibleSet
from .base import Strategy
from .candidates import candidates
from .features import Features, Floats
from .gaussian_process import Evidence, Kernel, Posterior, learned
from .history import Observations, history

_ALL = 20_000
"""Points of a set that is scored whole."""
_MOST_LEARNED = 1000
"""The best results, of which the posterior knows: its factor takes their number cubed."""
_WORK = 200_000
"""Points times results whose deviations are computed."""
_MOST_KEPT = 16_000_000
"""Entries of the kernel between all points and the results that are kept from one result to the
next (128 MB)."""
_SHORTLIST = 512
"""Points whose promise is weighed again for those that are being trained meanwhile."""
_DRAWS = 16
"""Draws of which the one with the least used labels is tried, during the warm-up."""
_GROWTH = 1.12
"""The kernel is learned anew whenever there are this many times as many results."""
_WARP = 0.3
"""In median gaps to the best: gaps of this size count half of what the smallest ones do."""


Ranking = tuple[Ints, Floats, Floats, Floats, Posterior]
"""The most promising points, their columns, the kernel between them and the results, their
promise, and the posterior that it is of."""


class PredictorStrategy(Strategy):
    """Tries the point with the best predicted score, of all points or of the promising ones.

    The first `startup` points are drawn half from the dearest fifth of the set (cost predicts
    accuracy, except at the top), half from the whole space, each moved to the nearest point of the
    set (so that the tighter the budget is, the more of them lie at its edge); each is the one of a
    few draws whose labels were used least. Then a share `explore` of the trials is uniform, and
    the others maximise mean + `optimism` standard deviations of a Gaussian process that knows what
    is being trained. Up to 20,000 points all are scored; above that, those of `candidates`.
    """

    def __init__(
        self,
        feasible: FeasibleSet[Any],
        *,
        seed: int = 0,
        startup: int = 10,
        explore: float = 0.02,
        optimism: float = 2.0,
    ) -> None:
        super().__init__(feasible, seed=seed)
        if startup < 2:
            raise InputError("startup", startup, "it must be at least 2")
        if not 0 <= explore <= 1:
            raise InputError("explore", explore, "it must be from 0 to 1")
        if not 0 <= optimism < np.inf:
            raise InputError("optimism", optimism, "it must be at least 0")
        self.startup, self.explore, self.optimism = startup, explore, optimism
        self._learned: tuple[bytes, Kernel] | None = None
        self._ranked: tuple[bytes, Ranking] | None = None
        self._kept: tuple[Kernel, Floats, Floats] | None = None

    def wishes(
        self, study: Study, trial: FrozenTrial, rng: np.random.Generator
    ) -> Iterable[Indices]:
        tried = self.tried(study, trial)
        past = history(study, self.locate, rng)
        if len(tried) < self.startup or len(past) < 2:
            return self._warm_up(tried, rng)
        if rng.random() < self.explore:
            return ()
        pending = self._pending(study, trial)
        return (point for point in self._best_first(past, pending) if point not in tried)

    def _pending(self, study: Study, trial: FrozenTrial) -> Ints:
        """(n, n_positions) what others are training."""
        trials = study._storage.get_all_trials(
            study._study_id, deepcopy=False, states=(TrialState.RUNNING,)
        )
        held = self._tried(trials, trial)
        return np.array(sorted(held), dtype=np.int64).reshape(-1, len(self.feasible.chain))

    def _warm_up(self, tried: set[Indices], rng: np.random.Generator) -> Iterator[Indices]:
        draw = self._moved_inside if len(tried) % 2 else self._dear.sample_indices
        used = np.array(sorted(tried)).reshape(-1, len(self.feasible.chain))
        while True:
            drawn = draw(rng, _DRAWS)
            # (draws, tried, n_positions): how many labels each draw shares with what was tried.
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
    def _features(self) -> Features:
        return Features(self.feasible)

    @cached_property
    def _dear(self) -> FeasibleSet[Any]:
        return self.feasible.top(0.2)

    @cached_property
    def _everything(self) -> tuple[Ints, Floats] | None:
        """The whole set, (n, n_positions), and its columns; None where it is too large."""
        if not self.feasible.holds_at_most(_ALL):
            return None
        points = np.array(list(self.feasible.indices_in_order()))
        return points, self._features(points)

    def _best_first(self, past: Observations, pending: Ints) -> Iterator[Indices]:
        # Of the trials that are asked for between two results all but the deviations is shared.
        key = past.points.tobytes() + past.scores.tobytes()
        if self._ranked is None or self._ranked[0] != key:
            self._ranked = key, self._ranking(past)
        points, columns, alike, promise, posterior = self._ranked[1]
        if len(pending):
            deviation = posterior.deviation(columns, alike, self._features(pending))
            promise = posterior.mean(alike) + self.optimism * deviation
        for row in np.argsort(-promise, kind="stable"):
            yield tuple(points[row].tolist())

    def _ranking(self, past: Observations) -> Ranking:
        # In the order of trials: up to that many, and where trials end in order, earlier results
        # are a prefix of later ones, which lets `_alike` go on from what it kept.
        which = np.sort(past.best_first[:_MOST_LEARNED])
        readings = self._readings(past, which)
        posterior = Posterior(self._kernel(past), readings)

        def promise(columns: Floats, alike: Floats) -> Floats:
            means = posterior.mean(alike)
            some = np.argsort(-means, kind="stable")[: max(_SHORTLIST, _WORK // len(which))]
            # Points without a deviation stay at -inf: they come last, whatever their mean.
            found = np.full(len(means), -np.inf)
            found[some] = posterior.deviation(columns[some], alike[some]) * self.optimism
            return found + means

        if self._everything is not None:
            points, columns = self._everything
            alike = self._alike(posterior.kernel, readings.columns)
            scores = promise(columns, alike)
        else:
            rng = np.random.default_rng((self.seed, len(past), 2))

            def promise_of(points: Ints) -> Floats:
                columns = self._features(points)
                return promise(columns, posterior.kernel(columns, readings.columns))

            effects = self._features.effects(posterior.slopes())
            best = past.points[past.best_first]
            points, scores = candidates(self.feasible, effects, best, promise_of, rng)
            columns = self._features(points)
            alike = posterior.kernel(columns, readings.columns)
        # More than are waited for, for those that have been tried are among them.
        first = np.argsort(-scores, kind="stable")[: _SHORTLIST + len(past)]
        return points[first], columns[first], alike[first], scores[first], posterior

    def _alike(self, kernel: Kernel, known: Floats) -> Floats:
        """(n, known) the kernel between everything and what is known, the part of it that was
        computed for earlier results kept."""
        assert self._everything is not None
        columns, begun = self._everything[1], 0
        if self._kept is not None and self._kept[0] is kernel:
            begun = len(self._kept[1])
            if begun > len(known) or not np.array_equal(self._kept[1], known[:begun]):
                begun = 0
        parts = [self._kept[2]] if begun and self._kept is not None else []
        # One by one, so that a search that goes on after a break rounds as if there was none.
        steps = range(begun, len(known)) if begun else []
        parts += [kernel(columns, known[i : i + 1]) for i in steps]
        alike = np.concatenate(parts, axis=1) if begun else kernel(columns, known)
        if alike.size <= _MOST_KEPT:
            self._kept = kernel, known, alike
        return alike

    def _kernel(self, past: Observations) -> Kernel:
        """Learned from the first results, of which there are a power of the growth."""
        # The number is a function of how many results there are, not of when we last learned: a
        # resumed search learns the same kernel.
        n = grown = 2
        while (grown := max(grown + 1, int(grown * _GROWTH))) <= len(past):
            n = grown
        begun = Observations(past.points[:n], past.scores[:n])
        key = begun.points.tobytes() + begun.scores.tobytes()
        if self._learned is None or self._learned[0] != key:
            # In order of score, since only every so many of them are learned from: all ranks are
            # there.
            readings = self._readings(begun, begun.best_first)
            self._learned = key, learned(self._features, readings)
        return self._learned[1]

    def _readings(self, past: Observations, which: Ints) -> Evidence:
        scores = warped(past.scores)[which]
        return Evidence(self._features(past.points[which]), scores, np.ones(len(which)))


def warped(scores: Floats) -> Floats:
    """(n,) -> (n,), in the same order: the nearer to the best, the more a difference counts.

    Minus the log of the gap to the best in units of the median gap, with `_WARP` added.
    """
    gaps = scores.max() - scores
    return np.asarray(-np.log(_WARP + gaps / (float(np.median(gaps)) or 1.0)))
