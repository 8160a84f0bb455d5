"""The shape of every strategy: an Optuna sampler over a feasible set.

An algorithm only says what it would like to try, in order; the wrapper here keeps it inside the
budget and off everything the study has already tried, and bounds how long it is listened to.
"""

from __future__ import annotations

import abc
import contextlib
import inspect
import threading
import time
import zlib
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from itertools import islice
from numbers import Integral
from typing import Any, ClassVar, NoReturn

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.storages import BaseStorage
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from ..search_space.chain.chain import Indices
from ..search_space.errors import InputError
from ..search_space.feasible.feasible_set import FeasibleSet
from .snapshot import Snapshot

PROPOSAL_KEY = "convnas:point"
"""Trial system attribute: the options proposed for it, before its parameters are suggested."""

_GIVEN = ("feasible", "seed")
# How often a trial gives way to rivals of other processes before it is told that nothing is left.
_CLAIM_ROUNDS = 32
_PAUSE = 0.05  # seconds
# Threads of this process choose one at a time. It does not reach other processes: between those,
# only reading again after writing settles who keeps a point, see `_proposal`.
_LOCK = threading.RLock()


class Exhausted(RuntimeError):
    """Every point of the feasible set has been tried: the search is over."""


class StrategyFailed(RuntimeError):
    """A strategy of somebody else's came to an end with an error; the message says which."""


def check_whole(name: str, value: Any, least: int) -> int:
    """A setting that must be a whole number of at least `least`; InputError otherwise."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise InputError(name, value, f"it must be a whole number of at least {least}")
    return int(value)


class Strategy(BaseSampler, abc.ABC):
    """Proposes points of `feasible`, none over budget and none that the study already has.

    A point counts as tried whatever became of its trial (running, pruned and failed ones too).
    Randomness is `default_rng((seed, trial.number))` and nothing is remembered between
    proposals: the study alone decides, so a search that was cut off goes on as if it had not
    been, and several processes may ask on one storage. When nothing is left, asking raises
    `Exhausted` and the trial that asked is told FAIL.
    """

    tries: ClassVar[int] = 12
    """How many wishes of the algorithm are heard before an exact choice is made for it."""

    claim: Callable[[int, Indices], bool] | None = None
    """Where many processes ask on one study, what settles at once who gets a point: it takes a
    trial's id and a point, and says whether the point is this trial's. A point that is not is
    passed over like one that has been tried."""

    def __init__(self, feasible: FeasibleSet[Any], *, seed: int = 0) -> None:
        self.feasible = feasible
        self.seed = check_whole("seed", seed, 0)
        self._located: dict[tuple[tuple[str, Any], ...], Indices] = {}
        self.space: dict[str, BaseDistribution] = {
            name: CategoricalDistribution(labels) for name, labels in feasible.distributions.items()
        }

    @classmethod
    def settings_taken(cls) -> list[str]:
        """The settings beside the feasible set and the seed."""
        return [key for key in inspect.signature(cls).parameters if key not in _GIVEN]

    @classmethod
    def unavailable(cls) -> str | None:
        """Why it cannot be had here (an extra is not installed); None: it can."""
        return None

    @abc.abstractmethod
    def wishes(
        self, study: Study, trial: FrozenTrial, rng: np.random.Generator
    ) -> Iterable[Indices]:
        """Points (as options) in the order the algorithm would try them, feasible or not.

        Read lazily, `tries` at most. None at all means: any point, uniformly.
        """

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        # Optuna asks a sampler only for parameters with more than one label, and only when they
        # are suggested. Proposing here instead makes a trial hold its point from `ask` on.
        self._proposal(study, trial)

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        return self.space

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        # `trial` was read before `before_trial` wrote the proposal, so it may not show it.
        latest = study._storage.get_trial(trial._trial_id)
        return self.feasible.chain.params(self._proposal(study, latest))

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        # A parameter of the user's own, outside the feasible set.
        # crc32, since `hash` of a string differs from process to process.
        seed = np.random.SeedSequence((self.seed, trial.number, zlib.crc32(param_name.encode())))
        own = RandomSampler(seed=int(seed.generate_state(1)[0]))
        return own.sample_independent(study, trial, param_name, param_distribution)

    def _proposal(self, study: Study, trial: FrozenTrial) -> Indices:
        """The point reserved for `trial`, chosen now where there is none yet."""
        held = self._held_by(trial)
        if held is not None:
            return held
        storage, trial_id = study._storage, trial._trial_id
        rng = np.random.default_rng((self.seed, trial.number))
        if self.claim is not None:
            point = self._choose(study, trial, rng, partial(self.claim, trial_id))
            if point is None:
                return self._give_up(storage, trial_id)
            storage.set_trial_system_attr(trial_id, PROPOSAL_KEY, point)
            return point
        with _LOCK:
            for round_ in range(_CLAIM_ROUNDS):
                point = self._choose(study, trial, rng)
                storage.set_trial_system_attr(trial_id, PROPOSAL_KEY, point)
                # After a clash, None may only mean that a rival holds the last point and is about
                # to give it back, so only the first look is final. Writing None withdraws our own
                # claim.
                if point is None and round_ == 0:
                    break
                # Another process may have claimed the same point between our reading and our
                # writing. Whoever sees a rival after writing gives way, so never both keep it.
                trials = storage.get_all_trials(study._study_id, deepcopy=False)
                if point is not None and point not in self._tried(trials, trial):
                    return point
                time.sleep(rng.uniform(0, _PAUSE))
        return self._give_up(storage, trial_id)

    def _give_up(self, storage: BaseStorage, trial_id: int) -> NoReturn:
        storage.set_trial_state_values(trial_id, TrialState.FAIL)
        raise Exhausted("every point within the budget has been tried")

    def _choose(
        self,
        study: Study,
        trial: FrozenTrial,
        rng: np.random.Generator,
        take: Callable[[Indices], bool] = lambda point: True,
    ) -> Indices | None:
        view, snapshot = Snapshot.of(study)
        # From the storage: a pruner with brackets shows its sampler only a part of the study.
        tried = self._tried(snapshot.get_all_trials(study._study_id, deepcopy=False), trial)

        def taken(point: Indices) -> bool:
            # `take` may claim the point for good, so it is asked last. A point lost to another
            # process is noted as tried, so that the loops below come to an end.
            if point not in tried and take(point):
                return True
            tried.add(point)
            return False

        # Three sources, from what the algorithm wants to what is certain: its wishes, what is
        # around its first wish, and an exact uniform draw. None is returned only when the last one
        # is empty.
        first: Indices | None = None
        for wish in map(self.feasible.canonical, islice(self.wishes(view, trial, rng), self.tries)):
            if wish not in tried and self._is_feasible(wish) and taken(wish):
                snapshot.flush()
                return wish
            first = first or wish
        snapshot.flush()
        near = [] if first is None else [p for p in self._around(first) if p not in tried]
        while near:
            if taken(point := near.pop(int(rng.integers(len(near))))):
                return point
        while (unseen := self.feasible.sample_unseen(rng, tried)) is not None:
            if taken(unseen):
                return unseen
        return None

    def _around(self, point: Indices) -> list[Indices]:
        """The feasible point nearest to `point`; where it is feasible, its neighbours."""
        if not self._is_feasible(point):
            return [self.feasible.repair_indices(point)]
        return [tuple(row) for row in self.feasible.neighbour_indices(point).tolist()]

    def _is_feasible(self, point: Indices) -> bool:
        return bool(self.feasible.feasible(np.array([point]))[0])

    def tried(self, study: Study, but: FrozenTrial) -> set[Indices]:
        """The points of all trials of the study but one."""
        return self._tried(study._storage.get_all_trials(study._study_id, deepcopy=False), but)

    def _tried(self, trials: Iterable[FrozenTrial], but: FrozenTrial) -> set[Indices]:
        held = (self._held_by(trial) for trial in trials if trial.number != but.number)
        return {point for point in held if point is not None}

    def locate(self, params: Mapping[str, Any]) -> Indices:
        """As `chain.locate`, looked up once: a study's trials are asked for at every proposal."""
        key = tuple(params.items())
        if key not in self._located:
            self._located[key] = self.feasible.chain.locate(params)
        return self._located[key]

    def _held_by(self, trial: FrozenTrial) -> Indices | None:
        """The point of a trial, from its parameters, its enqueued parameters or its proposal."""
        # An enqueued trial has only its fixed parameters until they are suggested. ValueError: the
        # parameters are no point of this space, or not all of them are there yet.
        for params in (trial.params, trial.system_attrs.get("fixed_params")):
            if params:
                with contextlib.suppress(ValueError):
                    return self.locate(params)
        proposed = trial.system_attrs.get(PROPOSAL_KEY)
        return None if proposed is None else self.feasible.canonical(proposed)
