"""What an NNI NAS strategy is given: a model space that is a feasible set, and an engine that takes
its first acceptable model.

nni.nas is imported here at the top, so this file is imported only where a strategy runs.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
from nni.mutable import Categorical
from nni.nas.execution import ExecutionEngine
from nni.nas.space import ExecutableModelSpace, ModelStatus
from nni.nas.space.metrics import Metrics
from nni.nas.strategy import hpo
from nni.nas.strategy.middleware import Chain, Filter

from ...search_space.feasible.feasible_set import FeasibleSet

Sample = dict[str, Any]
"""Factor -> chosen label, as an Optuna trial's parameters."""


class FeasibleModels(ExecutableModelSpace):  # type: ignore[misc]
    """A feasible set as NNI's strategies see it: one categorical a factor, and frozen, one sample.

    Its random model is uniform over the set, its grid the set in order of cost; what a strategy
    composes itself may be outside the set. Frozen models stand for trials and are never executed.
    """

    def __init__(self, feasible: FeasibleSet[Any]) -> None:
        super().__init__()
        self.evaluator = None
        self.sample: Sample | None = None
        self._feasible = feasible
        self._factors = {
            name: Categorical(labels, label=name) for name, labels in feasible.distributions.items()
        }

    def leaf_mutables(self, is_leaf: Callable[[Any], bool]) -> Iterable[Categorical]:
        return self._factors.values()

    def check_contains(self, sample: Sample) -> Exception | None:
        wrong = (factor.check_contains(sample) for factor in self._factors.values())
        return next((error for error in wrong if error is not None), None)

    def freeze(self, sample: Sample) -> FeasibleModels:
        self.validate(sample)
        model = copy.copy(self)
        model.status, model.metrics, model.sample = ModelStatus.Frozen, Metrics(), dict(sample)
        return model

    def random(
        self, memo: Sample | None = None, random_state: np.random.RandomState | None = None
    ) -> FeasibleModels:
        # Without a state of NNI's this is None, that is fresh entropy.
        rng = np.random.default_rng(random_state and random_state.randint(2**31))
        return self._model(self._feasible.sample_indices(rng, 1)[0].tolist(), memo)

    def grid(
        self, memo: Sample | None = None, granularity: int | None = None
    ) -> Iterator[FeasibleModels]:
        return (self._model(point, memo) for point in self._feasible.indices_in_order())

    def _model(self, point: Iterable[int], memo: Sample | None) -> FeasibleModels:
        sample = self._feasible.chain.params(tuple(point))
        if memo is not None:
            memo.update(sample)
        return self.freeze(sample)


class _Enough(Exception):
    """The engine has its model."""


class _OneModel(ExecutionEngine):  # type: ignore[misc]
    """Ends the strategy with the first model that it is handed."""

    def __init__(self) -> None:
        super().__init__()
        self.sample: Sample | None = None

    def submit_models(self, *models: FeasibleModels) -> None:
        self.sample = models[0].sample
        raise _Enough

    def list_models(self, status: Any = None) -> tuple[FeasibleModels, ...]:
        return ()

    def idle_worker_available(self) -> bool:
        return True

    def budget_available(self) -> bool:
        return self.sample is None


def first_acceptable(
    strategy: Any,
    models: FeasibleModels,
    accepts: Callable[[Sample], bool],
    resume: Callable[[], None],
    *,
    tries: int,
) -> Sample | None:
    """Run an NNI strategy until it submits a model that `accepts`; None where it ends before, or
    after `tries` refusals in a row.

    `resume` is called once the strategy is initialised, before it runs.
    """
    engine = _OneModel()
    refusing = Filter(lambda model: accepts(model.sample), patience=tries)
    chain = Chain(strategy, refusing)
    # Some strategies make their parts (the policy of reinforcement learning, say) in `initialize`,
    # so what the study knows is given after it.
    chain.initialize(models, engine)
    resume()
    with contextlib.suppress(_Enough), _without_waiting():
        chain.run()
    return engine.sample


@contextlib.contextmanager
def _without_waiting() -> Iterator[None]:
    """NNI's wrapper of tuners sleeps a second after every model, which nothing here needs."""
    before = hpo.time
    hpo.time = SimpleNamespace(sleep=lambda seconds: None)
    try:
        yield
    finally:
        hpo.time = before
