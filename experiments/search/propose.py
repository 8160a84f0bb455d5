"""Which architecture comes next: what a run that ended early left, then the strategy's wish."""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass

import optuna
from optuna.trial import FrozenTrial, Trial, TrialState

from ...search_space import Architecture, FeasibleSet
from ...strategies import Exhausted, StrategyFailed
from ..errors import RunError
from ..run.study import key_of


@dataclass(frozen=True)
class Proposal:
    """A trial of the study that is running, with what it is to try."""

    trial: Trial
    architecture: Architecture


class Proposer:
    """Asks the study. `refuse` is told of a trial that cannot be tried, and why.

    `claim` says whether an architecture, by its key, becomes that trial's: by default where no
    trial that this object knows of has it.

    A trial left running by a run that was killed is adopted: proposed again, under its own number.
    `exhausted` is true once the strategy has nothing left to propose. RunError where it fails.
    """

    def __init__(
        self,
        study: optuna.Study,
        feasible: FeasibleSet[Architecture],
        *,
        refuse: Callable[[Trial, str], None],
        log: Callable[[str], None],
        claim: Callable[[Trial, str], bool] | None = None,
    ) -> None:
        self._study, self._feasible, self._refuse, self._log = study, feasible, refuse, log
        self._left: deque[FrozenTrial] = deque()
        self._seen: set[str] = set()
        self._claim = claim or self._is_new
        self.exhausted = False

    def take_stock(self, trials: list[FrozenTrial], but: Collection[int] = ()) -> None:
        """Note what has been tried, and adopt what is running, save the numbers in `but`."""
        for trial in trials:
            # An adopted one claims its key in `propose`; were it noted here, it would be refused.
            if trial.state == TrialState.RUNNING and trial.number not in but:
                self._left.append(trial)
            elif "key" in trial.user_attrs:
                self._seen.add(key_of(trial))

    def left(self) -> Proposal | None:
        """The next one that an earlier run left; None where there is none any more."""
        while self._left:
            trial = self._left.popleft()
            self._log(f"trial {trial.number}: adopted from a run that ended early")
            # Made in `propose`: making a Trial asks the sampler, which may fail or be exhausted.
            proposal = self.propose(functools.partial(Trial, self._study, trial._trial_id))
            if proposal is not None:
                return proposal
        return None

    def new(self) -> Proposal | None:
        """The strategy's next; None where that trial was refused, or the set is `exhausted`."""
        # Looked at before asking, since every repeat that a strategy proposes uses up a trial.
        if self._feasible.holds_at_most(len(self._seen)):
            self.exhausted = True
        return None if self.exhausted else self.propose(self._study.ask)

    def propose(self, ask: Callable[[], Trial]) -> Proposal | None:
        """What the trial that `ask` gives is to try; None as for `new`."""
        try:
            trial = ask()
        except Exhausted:
            # The strategy has told that trial FAIL.
            self.exhausted = True
            return None
        except StrategyFailed as e:
            # The trial that asked is left running: the next run adopts it.
            raise RunError(str(e)) from e
        try:
            architecture = self._feasible.suggest(trial)
        except ValueError as e:
            # Queued by hand, for instance, with parameters outside the budget.
            self._refuse(trial, f"it cannot be tried: {e}")
            return None
        if not self._claim(trial, architecture.key):
            self._refuse(trial, "another trial has this architecture")
            return None
        trial.set_user_attr("key", architecture.key)
        trial.set_user_attr("architecture", architecture.to_dict())
        return Proposal(trial, architecture)

    def _is_new(self, trial: Trial, key: str) -> bool:
        new = key not in self._seen
        self._seen.add(key)
        return new
