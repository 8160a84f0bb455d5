"""Optuna's samplers by name. Settings are those of Optuna's class, beside `encoding`."""

from __future__ import annotations

import inspect
import warnings
from typing import Any, ClassVar

from optuna.exceptions import ExperimentalWarning
from optuna.samplers import (
    BaseSampler,
    GPSampler,
    NSGAIIISampler,
    NSGAIISampler,
    QMCSampler,
    TPESampler,
)

from ...search_space.errors import InputError
from ...search_space.feasible.feasible_set import FeasibleSet
from ..base import check_whole
from .wrapper import OptunaStrategy


class Named(OptunaStrategy):
    """One of Optuna's samplers by its class; a subclass says which."""

    sampler: ClassVar[type[BaseSampler]]

    def __init__(
        self,
        feasible: FeasibleSet[Any],
        *,
        seed: int = 0,
        encoding: str = "flat",
        **settings: Any,
    ) -> None:
        super().__init__(feasible, seed=seed, encoding=encoding)
        self.settings = settings
        self.make(seed)  # values that mean nothing are refused here

    @classmethod
    def settings_taken(cls) -> list[str]:
        own = inspect.signature(cls.sampler).parameters
        return ["encoding", *(name for name in own if name != "seed")]

    def make(self, seed: int) -> BaseSampler:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ExperimentalWarning)  # of QMC and NSGA-III
                return self.sampler(**{**self.defaults(), **self.settings, "seed": seed})
        except (TypeError, ValueError) as e:
            allowed = f"what optuna.samplers.{self.sampler.__name__} takes: {e}"
            raise InputError("settings", self.settings, allowed) from e

    def defaults(self) -> dict[str, Any]:
        """Settings that differ from Optuna's."""
        return {}


class TPEStrategy(Named):
    """Tree-structured Parzen estimator, uniform over the budget for the first 10 results."""

    sampler = TPESampler

    def __init__(self, feasible: FeasibleSet[Any], **settings: Any) -> None:
        for name in {"n_startup_trials", "n_ei_candidates"} & settings.keys():
            check_whole(name, settings[name], 1)
        super().__init__(feasible, **settings)


class GPStrategy(Named):
    """Gaussian process. It gives nearly the same point when asked again, so it is asked twice."""

    sampler = GPSampler
    tries = 2

    def defaults(self) -> dict[str, Any]:
        return {"warn_independent_sampling": False}


class NSGAIIStrategy(Named):
    """NSGA-II: generations of `population_size`, the first uniform over the budget."""

    sampler = NSGAIISampler


class NSGAIIIStrategy(Named):
    """NSGA-III, for three objectives and more."""

    sampler = NSGAIIISampler


class QMCStrategy(Named):
    """A scrambled Sobol sequence. One sequence a study, so every proposal has the same seed."""

    sampler = QMCSampler

    def __init__(self, feasible: FeasibleSet[Any], **settings: Any) -> None:
        super().__init__(feasible, **settings)
        if settings.get("encoding", "flat") != "flat":
            raise InputError("encoding", settings["encoding"], "qmc knows no conditions: flat")

    def make(self, seed: int) -> BaseSampler:
        return super().make(self.seed)

    def defaults(self) -> dict[str, Any]:
        return {"scramble": True, "warn_independent_sampling": False}
