"""NNI's own algorithms, in this process, kept inside the budget and off repeats.

Run by NNI they search the whole space, their process dies on a swapped parameter, and a resumed
one forgets what it learnt. Here a tuner is made anew for every proposal and told the study from
its first trial on, so that only what the algorithm wishes for is NNI's. Each sees one `choice` a
factor, as Optuna's samplers do.
"""

from __future__ import annotations

import abc
import contextlib
import copy
import functools
import importlib
import logging
import random
from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from ..search_space.chain.chain import Indices
from ..search_space.errors import InputError
from ..search_space.feasible.feasible_set import FeasibleSet
from .base import Strategy

GONE = {
    "nni-anneal": "it needs a hyperopt that runs with no numpy of today; try nni-evolution",
    "nni-smac": "NNI 3.0 names it and ships no code for it; try nni-tpe",
}
"""Algorithms that NNI lists and that cannot run, with the reason."""

_GRID_STEPS = 4096
"""Points of the grid that one proposal walks over at most."""


class NNIStrategy(Strategy, abc.ABC):
    """The wishes of an NNI tuner that has been told the study."""

    def wishes(
        self, study: Study, trial: FrozenTrial, rng: np.random.Generator
    ) -> Iterator[Indices]:
        for params in self.proposals(study, earlier(study, trial), rng):
            # A combination of factors that is no option is a wish lost.
            with contextlib.suppress(ValueError):
                yield self.feasible.chain.locate(params)

    @abc.abstractmethod
    def proposals(
        self, study: Study, known: list[FrozenTrial], rng: np.random.Generator
    ) -> Iterator[dict[str, Any]]:
        """Parameters in the order in which the tuner gives them; `known` in order of number."""

    @property
    def nni_space(self) -> dict[str, Any]:
        """The search space as NNI writes it: every factor a `choice`, also those of one label."""
        return {
            name: {"_type": "choice", "_value": list(labels)}
            for name, labels in self.feasible.distributions.items()
        }

    def params_of(self, trial: FrozenTrial) -> dict[str, Any] | None:
        """All factors of a trial, those of one label too; None for a trial of another space."""
        point = self._held_by(trial)
        return None if point is None else self.feasible.chain.params(point)


class NNITPEStrategy(NNIStrategy):
    """NNI's tree-structured Parzen estimator, with its liar for running trials.

    n_startup_jobs: results it waits for; n_ei_candidates: draws it compares a factor.
    """

    def __init__(
        self,
        feasible: FeasibleSet[Any],
        *,
        seed: int = 0,
        n_startup_jobs: int = 20,
        n_ei_candidates: int = 24,
    ) -> None:
        super().__init__(feasible, seed=seed)
        self.args = {"n_startup_jobs": n_startup_jobs, "n_ei_candidates": n_ei_candidates}

    def proposals(
        self, study: Study, known: list[FrozenTrial], rng: np.random.Generator
    ) -> Iterator[dict[str, Any]]:
        # Numbered beyond all trials, so that no wish takes the number of one that the tuner knows.
        yield from _generated(self.told(study, known, rng), len(study.get_trials(deepcopy=False)))

    def told(self, study: Study, known: list[FrozenTrial], rng: np.random.Generator) -> Any:
        """NNI's tuner, knowing these trials under their numbers."""
        tuner = _nni("tpe_tuner.TpeTuner")(
            optimize_mode=_mode(study), seed=seed_from(rng), tpe_args=self.args
        )
        tuner.update_search_space(self.nni_space)
        tuner.dedup = _as_it_is
        to_indices = _nni("tpe_tuner.format_parameters")
        for trial in known:
            params = self.params_of(trial)
            if params is None:
                continue
            indices = to_indices(params, tuner.space)
            # What the tuner notes when it proposes; it refuses the result of an id that it did not
            # note.
            tuner._params[trial.number] = tuner._running_params[trial.number] = indices
            if trial.state == TrialState.COMPLETE:
                tuner.receive_trial_result(trial.number, params, trial.values[0])
            elif trial.state.is_finished():
                tuner.trial_end(trial.number, False)
        return tuner


class NNIRandomStrategy(NNIStrategy):
    """NNI's random search: uniform over the product of the factors, so not over the set."""

    def proposals(
        self, study: Study, known: list[FrozenTrial], rng: np.random.Generator
    ) -> Iterator[dict[str, Any]]:
        tuner = _nni("random_tuner.RandomTuner")(seed=seed_from(rng))
        tuner.update_search_space(self.nni_space)
        tuner.dedup = _as_it_is
        yield from _generated(tuner, 0)


class NNIGridStrategy(NNIStrategy):
    """NNI's grid: the product of the factors in order, the last one changing fastest.

    It goes on after the newest trial's point and begins again at the end; a stretch of more than
    a few thousand points outside the budget is left to the wrapper.
    """

    def proposals(
        self, study: Study, known: list[FrozenTrial], rng: np.random.Generator
    ) -> Iterator[dict[str, Any]]:
        last = self.params_of(known[-1]) if known else None
        tried = {self._held_by(trial) for trial in known}
        for params in islice(self._walk(last), _GRID_STEPS):
            with contextlib.suppress(ValueError):
                point = self.feasible.chain.locate(params)
                if point not in tried and self._is_feasible(point):
                    yield params

    def _walk(self, last: dict[str, Any] | None) -> Iterator[dict[str, Any]]:
        """The grid after `last`, then the grid from its beginning."""
        for start in (last, None):
            tuner = _nni("gridsearch_tuner.GridSearchTuner")()
            tuner.update_search_space(self.nni_space)
            if start is not None:
                labels = self.feasible.distributions
                tuner.vector = [labels[name].index(value) for name, value in start.items()]
            yield from _generated(tuner, 0)


class NNIEvolutionStrategy(NNIStrategy):
    """NNI's naive evolution: of two members the worse one makes room for the better one's mutant.

    population_size: random members at the start.
    """

    def __init__(
        self, feasible: FeasibleSet[Any], *, seed: int = 0, population_size: int = 32
    ) -> None:
        if population_size < 2:
            raise InputError("population_size", population_size, "it must be at least 2")
        super().__init__(feasible, seed=seed)
        self.population_size = population_size

    def proposals(
        self, study: Study, known: list[FrozenTrial], rng: np.random.Generator
    ) -> Iterator[dict[str, Any]]:
        tuner = self._replayed(study, known)
        for _ in range(self.tries):
            # Each wish from the same population: asking takes a member out of it.
            one = copy.deepcopy(tuner)
            if not one.population:
                return  # all members are in training
            with _seeded(one, seed_from(rng)):
                yield one.generate_parameters(-1)

    def _replayed(self, study: Study, known: list[FrozenTrial]) -> Any:
        tuner = _nni("evolution_tuner.EvolutionTuner")(_mode(study), self.population_size)
        tuner.update_search_space(self.nni_space)
        tuner.population = []
        # The same first population at every proposal, or the replay would be of another search.
        with _seeded(tuner, self.seed):
            for _ in range(self.population_size):
                tuner._random_generate_individual()
        for trial in known:
            params = self.params_of(trial)
            if params is None or not tuner.population:
                continue
            # A stream of its own for the replay: the proposals' is (seed, number).
            seed = np.random.SeedSequence((self.seed, trial.number, 2)).generate_state(1)[0]
            with _seeded(tuner, int(seed)):
                tuner.generate_parameters(trial.number)
                # What was trained is what counts: the wrapper may have chosen another point.
                tuner.running_trials[trial.number].config = self._with_indices(params)
                if trial.state == TrialState.COMPLETE:
                    tuner.receive_trial_result(trial.number, params, trial.values[0])
                elif trial.state.is_finished():
                    tuner.trial_end(trial.number, False)
        return tuner

    def _with_indices(self, params: dict[str, Any]) -> dict[str, Any]:
        labels = self.feasible.distributions
        return {
            name: {"_index": labels[name].index(value), "_value": value}
            for name, value in params.items()
        }


def earlier(study: Study, trial: FrozenTrial) -> list[FrozenTrial]:
    """The trials of the study before this one."""
    return [other for other in study.get_trials(deepcopy=False) if other.number < trial.number]


def _generated(tuner: Any, first: int) -> Iterator[dict[str, Any]]:
    number = first
    with contextlib.suppress(_no_more()):
        while True:
            yield tuner.generate_parameters(number)
            tuner.trial_end(number, False)  # heard and not taken
            number += 1


def _as_it_is(params: Any) -> Any:
    """In place of NNI's own answer to a repeat, the next point of its grid: ours is nearer."""
    return params


@contextlib.contextmanager
def _seeded(tuner: Any, seed: int) -> Iterator[None]:
    """NNI's evolution draws from a generator of its own and from Python's, which is given back."""
    tuner.random_state = np.random.RandomState(seed % 2**32)
    before = random.getstate()
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(before)


@functools.cache
def _nni(name: str) -> Any:
    """`module.attribute` of NNI's algorithms. Importing NNI takes seconds, so only when asked."""
    module, _, attribute = name.partition(".")
    # NNI logs to standard output, which may be somebody's JSON.
    for talker in ("nni.tuner", "nni.algorithms", "nni.common"):
        logging.getLogger(talker).setLevel(logging.ERROR)
    return getattr(importlib.import_module(f"nni.algorithms.hpo.{module}"), attribute)


def _no_more() -> type[Exception]:
    error: type[Exception] = _nni("gridsearch_tuner.nni").NoMoreTrialError
    return error


def _mode(study: Study) -> str:
    return "maximize" if study.directions[0] == StudyDirection.MAXIMIZE else "minimize"


def seed_from(rng: np.random.Generator) -> int:
    """A seed as NNI takes one."""
    return int(rng.integers(2**31))
