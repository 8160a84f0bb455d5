"""Optuna's own samplers, kept inside the budget and off repeats."""

from __future__ import annotations

import abc
import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from optuna.samplers import BaseSampler, TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from ..search_space.chain import Indices
from ..search_space.feasible import FeasibleSet
from .base import Strategy, check_whole


class OptunaStrategy(Strategy, abc.ABC):
    """The wishes of an Optuna sampler over one categorical parameter a factor (flat encoding).

    The sampler is made anew for every proposal, seeded by it, so it knows what the study knows.
    """

    @abc.abstractmethod
    def make(self, seed: int) -> BaseSampler:
        """The sampler."""

    def wishes(
        self, study: Study, trial: FrozenTrial, rng: np.random.Generator
    ) -> Iterator[Indices]:
        inner = self.make(_seed(rng))
        choices = {name: labels for name, labels in self.space.items() if not labels.single()}
        fixed = {
            name: labels[0]
            for name, labels in self.feasible.chain.parameters.items()
            if name not in choices
        }
        for _ in range(self.tries):
            params = inner.sample_relative(study, trial, choices)
            if choices.keys() != params.keys():
                return  # it has seen too few results to wish for anything
            # A combination of factors that is no option is a wish lost.
            with contextlib.suppress(ValueError):
                yield self.feasible.chain.locate(fixed | params)

    def after_trial(
        self,
        study: Study,
        trial: FrozenTrial,
        state: TrialState,
        values: Sequence[float] | None,
    ) -> None:
        rng = np.random.default_rng((self.seed, trial.number, 1))
        self.make(_seed(rng)).after_trial(study, trial, state, values)


class TPEStrategy(OptunaStrategy):
    """Tree-structured Parzen estimator, uniform over the budget for the first trials.

    n_startup_trials: how many results it waits for; n_ei_candidates: draws it compares a wish.
    """

    def __init__(
        self,
        feasible: FeasibleSet[Any],
        *,
        seed: int = 0,
        n_startup_trials: int = 10,
        n_ei_candidates: int = 24,
    ) -> None:
        super().__init__(feasible, seed=seed)
        self.n_startup_trials = check_whole("n_startup_trials", n_startup_trials, 1)
        self.n_ei_candidates = check_whole("n_ei_candidates", n_ei_candidates, 1)

    def make(self, seed: int) -> BaseSampler:
        return TPESampler(
            seed=seed,
            n_startup_trials=self.n_startup_trials,
            n_ei_candidates=self.n_ei_candidates,
        )


def _seed(rng: np.random.Generator) -> int:
    return int(rng.integers(2**32))
