"""NNI's NAS strategies, kept inside the budget and off repeats.

NNI runs such a strategy as a driver: `run()` submits models to an execution engine and returns when
the search is over. Here it is made anew for every proposal, loads from the study the state that it
would have saved, and its engine ends `run()` with the first model that the budget's filter lets
through. So it proposes like every other strategy: a run resumes, several workers share it, and
nothing waits in a thread.
"""

from __future__ import annotations

import abc
import contextlib
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
from optuna.study import Study
from optuna.trial import FrozenTrial

from ...search_space.chain.chain import Indices
from ...search_space.errors import InputError
from ...search_space.feasible.feasible_set import FeasibleSet
from ..base import Strategy, StrategyFailed, check_whole
from ..history import history
from ..nni_tuners import NNITPEStrategy, earlier, seed_from
from .loading import load_nni_nas, missing, quiet


class NNINasStrategy(Strategy, abc.ABC):
    """The wish of an NNI NAS strategy that goes on from the study."""

    tries: ClassVar[int] = 200
    extra: ClassVar[str] = "nas"
    """The extra of this package that brings what it needs."""

    @classmethod
    def unavailable(cls) -> str | None:
        return missing(cls.extra)

    @abc.abstractmethod
    def make(self, study: Study, trial: FrozenTrial, rng: np.random.Generator) -> Any:
        """NNI's strategy object."""

    def resume(
        self, strategy: Any, study: Study, trial: FrozenTrial, rng: np.random.Generator
    ) -> None:
        """Give the strategy, initialised and not yet running, what the study knows."""
        known = self.state(strategy, study, trial, rng)
        strategy.load_state_dict({**strategy.state_dict(), **known})

    def state(
        self, strategy: Any, study: Study, trial: FrozenTrial, rng: np.random.Generator
    ) -> dict[str, Any]:
        """What the state that NNI saves of the strategy would hold of the study."""
        return {}

    def randomness(self) -> contextlib.AbstractContextManager[None]:
        """Around every use of a strategy that draws from generators not its own."""
        return contextlib.nullcontext()

    def wishes(
        self, study: Study, trial: FrozenTrial, rng: np.random.Generator
    ) -> Iterator[Indices]:
        tried = self.tried(study, trial)
        refused: list[Indices] = []

        def accepts(sample: dict[str, Any]) -> bool:
            try:
                point = self.feasible.chain.locate(sample)
            except ValueError:  # a combination of factors that is no option
                return False
            if point not in tried and self._is_feasible(point):
                return True
            refused.append(point)
            return False

        name = type(self).__name__
        try:
            load_nni_nas()
            from .engine import FeasibleModels, first_acceptable

            with quiet(), self.randomness():
                strategy = self.make(study, trial, rng)
                name = type(strategy).__name__
                sample = first_acceptable(
                    strategy,
                    FeasibleModels(self.feasible),
                    accepts,
                    lambda: self.resume(strategy, study, trial, rng),
                    tries=self.tries,
                )
        except Exception as e:
            raise StrategyFailed(f"NNI's {name} failed: {type(e).__name__}: {e}") from e
        # Given out only here, after the contexts above: a generator that is left halfway would keep
        # NNI silent and the random states borrowed.
        if sample is not None:
            yield self.feasible.chain.locate(sample)
        # Where there is none, the budget's wrapper looks around the first that was refused.
        yield from refused[:1]

    def dedup_history(self, study: Study, trial: FrozenTrial) -> list[Any]:
        """What has been tried, as NNI's strategies remember it."""
        from nni.nas.strategy.utils import _to_hashable

        # Sorted, so that equal studies give equal lists.
        tried = sorted(self.tried(study, trial))
        return [_to_hashable(self.feasible.chain.params(point)) for point in tried]


class NNINasRandomStrategy(NNINasStrategy):
    """NNI's random search over a model space that is the feasible set: uniform over it."""

    def make(self, study: Study, trial: FrozenTrial, rng: np.random.Generator) -> Any:
        from nni.nas.strategy import Random

        return Random(seed=seed_from(rng))

    def state(
        self, strategy: Any, study: Study, trial: FrozenTrial, rng: np.random.Generator
    ) -> dict[str, Any]:
        return {"dedup_history": self.dedup_history(study, trial)}


class NNINasGridStrategy(NNINasStrategy):
    """NNI's grid search: the feasible set in order of cost.

    shuffle: each hundred of what is left in random order, as NNI does unless told otherwise.
    """

    def __init__(self, feasible: FeasibleSet[Any], *, seed: int = 0, shuffle: bool = True) -> None:
        super().__init__(feasible, seed=seed)
        if not isinstance(shuffle, bool):
            raise InputError("shuffle", shuffle, "it must be true or false")
        self.shuffle = shuffle

    def make(self, study: Study, trial: FrozenTrial, rng: np.random.Generator) -> Any:
        from nni.nas.strategy import GridSearch

        return GridSearch(shuffle=self.shuffle, seed=seed_from(rng))

    def state(
        self, strategy: Any, study: Study, trial: FrozenTrial, rng: np.random.Generator
    ) -> dict[str, Any]:
        return {"dedup_history": self.dedup_history(study, trial)}


class NNINasEvolutionStrategy(NNINasStrategy):
    """NNI's regularised evolution (Real et al., AAAI 2019).

    population_size: how many of the latest results are alive, the first as many drawn at random
    (NNI's own default, 100, is more than most searches train); sample_size: how many of them
    compete to be the parent; mutation_prob: of each factor; crossover: of two parents.
    """

    def __init__(
        self,
        feasible: FeasibleSet[Any],
        *,
        seed: int = 0,
        population_size: int = 20,
        sample_size: int = 5,
        mutation_prob: float = 0.05,
        crossover: bool = False,
    ) -> None:
        super().__init__(feasible, seed=seed)
        check_whole("population_size", population_size, 1)
        check_whole("sample_size", sample_size, 1)
        if sample_size > population_size:
            allowed = f"it must be at most population_size, {population_size}"
            raise InputError("sample_size", sample_size, allowed)
        if isinstance(mutation_prob, bool) or not isinstance(mutation_prob, int | float):
            raise InputError("mutation_prob", mutation_prob, "it must be a number")
        if not 0 < mutation_prob <= 1:
            raise InputError("mutation_prob", mutation_prob, "it must be above 0 and at most 1")
        if not isinstance(crossover, bool):
            raise InputError("crossover", crossover, "it must be true or false")
        self.args = {
            "population_size": population_size,
            "sample_size": sample_size,
            "mutation_prob": mutation_prob,
            "crossover": crossover,
        }

    def make(self, study: Study, trial: FrozenTrial, rng: np.random.Generator) -> Any:
        from nni.nas.strategy import RegularizedEvolution

        return RegularizedEvolution(seed=seed_from(rng), **self.args)

    def state(
        self, strategy: Any, study: Study, trial: FrozenTrial, rng: np.random.Generator
    ) -> dict[str, Any]:
        from nni.nas.strategy.evolution import Individual

        past = history(study, self.locate, rng)
        latest = slice(-strategy.population_size, None)
        population = [
            Individual(self.feasible.chain.params(point), score)
            for point, score in zip(
                past.points[latest].tolist(), past.scores[latest].tolist(), strict=True
            )
        ]
        return {
            "population": population,
            "individual_counter": len(past),
            "dedup_history": self.dedup_history(study, trial),
        }


class NNINasTPEStrategy(NNINasStrategy):
    """NNI's TPE as a NAS strategy: the tuner of `nni-tpe`, run by NNI's wrapper of tuners.

    n_startup_jobs: results it waits for; n_ei_candidates: draws it compares a factor.
    """

    tries = Strategy.tries

    def __init__(
        self,
        feasible: FeasibleSet[Any],
        *,
        seed: int = 0,
        n_startup_jobs: int = 20,
        n_ei_candidates: int = 24,
    ) -> None:
        super().__init__(feasible, seed=seed)
        self._tuners = NNITPEStrategy(
            feasible,
            seed=seed,
            n_startup_jobs=n_startup_jobs,
            n_ei_candidates=n_ei_candidates,
        )

    def make(self, study: Study, trial: FrozenTrial, rng: np.random.Generator) -> Any:
        from nni.nas.strategy import TPE

        strategy = TPE()
        strategy.tuner = self._tuners.told(study, earlier(study, trial), rng)
        # It would set up the space anew, and with it NNI's own answer to repeats.
        strategy.tuner.update_search_space = lambda space: None
        return strategy

    def state(
        self, strategy: Any, study: Study, trial: FrozenTrial, rng: np.random.Generator
    ) -> dict[str, Any]:
        # Its models are numbered on from the trials that the tuner knows.
        return {"model_count": trial.number}
