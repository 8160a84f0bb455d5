"""Optuna's own samplers, and anybody's, kept inside the budget and off repeats."""

from __future__ import annotations

import abc
import contextlib
import copy
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler
from optuna.storages import InMemoryStorage
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from ...search_space.chain.chain import Indices
from ...search_space.errors import InputError
from ...search_space.feasible.feasible_set import FeasibleSet
from ..base import Strategy
from .encoding import Flat, encoding


class OptunaStrategy(Strategy, abc.ABC):
    """The wishes of an Optuna sampler over one categorical parameter a factor.

    The sampler is made anew for every proposal, seeded by it, so it knows what the study knows.
    Flat, it is asked for all parameters jointly; conditional, for those that it infers, and for
    the others one at a time, as Optuna asks in a define-by-run objective.
    """

    joint: ClassVar[bool] = True
    """Asked for all parameters at once where the encoding is flat, and uniform before it knows."""

    def __init__(
        self, feasible: FeasibleSet[Any], *, seed: int = 0, encoding: str = "flat"
    ) -> None:
        super().__init__(feasible, seed=seed)
        self.encoding = _encoding(encoding, feasible)

    @abc.abstractmethod
    def make(self, seed: int) -> BaseSampler:
        """The sampler."""

    def wishes(
        self, study: Study, trial: FrozenTrial, rng: np.random.Generator
    ) -> Iterator[Indices]:
        inner = self.make(int(rng.integers(2**32)))
        flat = type(self.encoding) is Flat
        seen = study if flat else _translated(study, self.encoding, trial)
        own = trial if flat else seen.trials[-1]
        for _ in range(self.tries):
            inner.before_trial(seen, own)
            space = self._choices() if flat and self.joint else self._inferred(inner, seen, own)
            joint = inner.sample_relative(seen, own, space)
            if flat and self.joint and joint.keys() != space.keys():
                return  # it has seen too few results to wish for anything
            _hand_back(study, trial, seen, own)
            # A combination of factors that is no option is a wish lost.
            with contextlib.suppress(ValueError):
                yield self.encoding.walk(_Asking(inner, seen, own, joint))

    def _choices(self) -> dict[str, BaseDistribution]:
        return {name: labels for name, labels in self.space.items() if not labels.single()}

    def _inferred(
        self, inner: BaseSampler, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        found = inner.infer_relative_search_space(study, trial)
        if type(self.encoding) is Flat:  # the user's own parameters are in the study as well
            return {name: found[name] for name in found if name in self.space}
        return found

    def after_trial(
        self,
        study: Study,
        trial: FrozenTrial,
        state: TrialState,
        values: Sequence[float] | None,
    ) -> None:
        # A stream apart from the proposal's, which is (seed, number).
        rng = np.random.default_rng((self.seed, trial.number, 1))
        self.make(int(rng.integers(2**32))).after_trial(study, trial, state, values)


class GivenStrategy(OptunaStrategy):
    """A sampler object of the user's, copied and reseeded for every proposal.

    It says itself for which parameters it is asked jointly.
    """

    joint = False

    def __init__(
        self,
        feasible: FeasibleSet[Any],
        *,
        sampler: BaseSampler,
        seed: int = 0,
        encoding: str = "flat",
    ) -> None:
        super().__init__(feasible, seed=seed, encoding=encoding)
        if isinstance(sampler, optuna.samplers.BruteForceSampler | optuna.samplers.GridSampler):
            kind = type(sampler).__name__
            raise InputError("name", kind, "exhaustive does that, in order of cost")
        self.sampler = sampler

    def make(self, seed: int) -> BaseSampler:
        made = copy.deepcopy(self.sampler)
        _reseed(made, seed)
        return made


class _Asking:
    """Answers from what was sampled jointly, else by asking for the one parameter."""

    def __init__(
        self, inner: BaseSampler, study: Study, trial: FrozenTrial, joint: dict[str, Any]
    ) -> None:
        self.inner, self.study, self.trial, self.joint = inner, study, trial, joint

    def __call__(self, name: str, labels: Sequence[Any]) -> Any:
        """See `Ask`. A parameter of one label is never put to the sampler, as in Optuna."""
        if len(labels) == 1:
            return labels[0]
        if self.joint.get(name) in labels:
            return self.joint[name]
        of = CategoricalDistribution(labels)
        return self.inner.sample_independent(self.study, self.trial, name, of)


def _encoding(name: str, feasible: FeasibleSet[Any]) -> Flat:
    return encoding(name, feasible.chain)


def _translated(study: Study, into: Flat, running: FrozenTrial) -> Study:
    """The study as it would be in another encoding; the trial that asks comes last."""
    storage = InMemoryStorage()
    shadow = optuna.create_study(storage=storage, directions=study.directions)
    trials = study._storage.get_all_trials(study._study_id, deepcopy=False)
    # The asking trial last, so that `trials[-1]` finds it, and without parameters: those it will
    # get are of the other encoding. Trials of another space stay, without parameters.
    for trial in [*(t for t in trials if t.number != running.number), running]:
        like = copy.copy(trial)
        params: dict[str, Any] = {}
        labels: dict[str, BaseDistribution] = {}

        if trial.params and trial.number != running.number:
            with contextlib.suppress(ValueError):
                params, labels = _params(into, trial)
        like.params, like.distributions = params, labels
        storage.create_new_trial(shadow._study_id, template_trial=like)
    return shadow


def _params(into: Flat, trial: FrozenTrial) -> tuple[dict[str, Any], dict[str, BaseDistribution]]:
    params = into.params(into.chain.locate(trial.params))
    labels: dict[str, BaseDistribution] = {}

    def ask(name: str, of: Sequence[Any]) -> Any:
        labels[name] = CategoricalDistribution(of)
        return params[name]

    into.walk(ask)
    return dict(params), labels


def _hand_back(study: Study, trial: FrozenTrial, seen: Study, own: FrozenTrial) -> None:
    """What the sampler noted with its trial (a generation, say) belongs to the real one."""
    if seen is not study:
        for key, value in seen._storage.get_trial(own._trial_id).system_attrs.items():
            if key not in trial.system_attrs:
                study._storage.set_trial_system_attr(trial._trial_id, key, value)


def _reseed(sampler: BaseSampler, seed: int) -> None:
    """Every random state in `sampler` and in the samplers it holds is set by `seed`."""
    from optuna.samplers._lazy_random_state import LazyRandomState

    for held in vars(sampler).values():
        if isinstance(held, LazyRandomState):
            held.rng.seed(seed)
        elif isinstance(held, BaseSampler):
            # Another seed, or the inner sampler would repeat the outer one's draws.
            _reseed(held, (seed + 1) % 2**32)
