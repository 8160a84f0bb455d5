"""The search loop of one node among many: take, claim, train, tell, until all are done together."""

from __future__ import annotations

import functools
import random
import time
from collections.abc import Callable

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import BaseStorage
from optuna.trial import Trial

from ... import strategies
from ...search_space import Architecture, FeasibleSet
from ..config.schema import ExperimentConfig
from ..run import study as records
from ..search.loop import Ending
from ..search.progress import Watch
from ..search.propose import Asking, Proposal
from ..search.trial_log import Ended, Telling, nobody
from ..workers.events import Event, Reported
from ..workers.pool import WorkerPool
from .ledger import CONFIG_KEY, Lost
from .node import Node

_LOOK = 5.0
"""Seconds, about, between two looks of a node that waits for others."""

_COUNT = 10.0
"""Seconds between two looks at what all nodes have made."""

_MANY = 10**7


class ClusterSearch:
    """The part of one node in the search of `study`, by the study's own config.

    With `follow` the trials of all nodes are looked at now and then, for whoever watches.
    """

    def __init__(
        self,
        config: ExperimentConfig,
        study: optuna.Study,
        feasible: FeasibleSet[Architecture],
        node: Node,
        pool: WorkerPool,
        *,
        log: Callable[[str], None],
        watch: Watch,
        ended: Callable[[Ended], None] = nobody,
        follow: bool = False,
    ) -> None:
        self._config, self._study, self._node, self._pool = config, study, node, pool
        self._storage: BaseStorage = study._storage
        self._log, self._follow, self._ended = log, follow, ended
        self._points = feasible.count if feasible.holds_at_most(_MANY) else None
        self._exhausted = False
        self._next_look = self._next_count = 0.0
        self._told: tuple[float, Architecture] | None = None
        self._telling = Telling(
            config,
            study,
            self._storage,
            share=feasible.share,
            log=log,
            watch=watch,
            ended=self._over,
            ours=lambda trial: node.ours(trial._trial_id),
        )
        self._asking = Asking(
            study,
            feasible,
            refuse=self._refuse,
            log=log,
            claim=lambda trial, key: node.claim(trial._trial_id, key),
        )
        self._ids: dict[int, int] = {}
        sampler = study.sampler
        assert isinstance(sampler, strategies.Strategy)
        sampler.claim = lambda trial_id, point: node.claim(trial_id, feasible.point(point).key)

    def run(self, stop: Callable[[], bool], on_best: Callable[[Architecture], None]) -> Ending:
        """Until all trials of the study are over, whoever makes them, or `stop` says so."""
        self._telling.recount()
        self._telling.show("")
        while not stop():
            if self._pool.idle and time.monotonic() >= self._next_look:
                self._hand_out()
                if (ending := self._ending()) is not None:
                    self._note_best(on_best)
                    return ending
            for event in self._pool.wait(1.0):
                self._hear(event)
            for trial_id in self._node.lost():
                self._drop(trial_id)
            if self._follow and time.monotonic() >= self._next_count:
                self._next_count = time.monotonic() + _COUNT
                self._telling.recount()
            self._note_best(on_best)
        return "stopped"

    def _note_best(self, on_best: Callable[[Architecture], None]) -> None:
        best = self._telling.best
        if best is not None and best != self._told:
            self._told = best
            on_best(best[1])

    def _hand_out(self) -> None:
        while self._pool.idle:
            proposal = self._next()
            if proposal is None:
                # Others wait as well: not all at the same moment.
                self._next_look = time.monotonic() + _LOOK * random.uniform(0.5, 1.5)
                self._telling.recount()
                self._telling.show("")
                return
            self._telling.start(proposal)
            self._pool.submit(
                proposal.trial.number,
                proposal.architecture.to_dict(),
                seed=self._config.seed,
                verdicts=self._telling.prunes,
            )

    def _next(self) -> Proposal | None:
        while True:
            kept = self._storage.get_study_system_attrs(self._study._study_id)
            taken = self._node.take(kept[CONFIG_KEY]["trials"], self._points)
            self._exhausted |= taken.exhausted
            if taken.trial_id is None:
                return None
            try:
                proposal = self._proposal(taken.trial_id, again=taken.again)
            except Lost:
                self._node.let_go(taken.trial_id)
                continue
            if proposal is not None:
                self._ids[proposal.trial.number] = taken.trial_id
                return proposal
            self._node.let_go(taken.trial_id)
            self._exhausted |= self._asking.exhausted

    def _proposal(self, trial_id: int, *, again: bool) -> Proposal | None:
        if again:
            left = self._storage.get_trial(trial_id)
            if left.state.is_finished():
                return None
            self._log(f"trial {left.number}: adopted from a worker that fell silent")
            if "score" in left.user_attrs:
                # It was scored; its worker died between keeping the score and telling the study.
                records.tell_kept(self._study, left)
                return None
        self._study._thread_local.cached_all_trials = None  # as `Study.ask` does
        return self._asking.propose(functools.partial(Trial, self._study, trial_id))

    def _ending(self) -> Ending | None:
        if self._telling.running:
            return None
        counts = self._node.ledger.counts()
        if counts.get("RUNNING", 0):
            return None  # one may yet fall silent
        if self._exhausted:
            return "exhausted"
        over = sum(counts.get(state, 0) for state in ("COMPLETE", "PRUNED", "FAIL"))
        kept = self._storage.get_study_system_attrs(self._study._study_id)
        if over < kept[CONFIG_KEY]["trials"]:
            return None
        self._telling.recount()
        return "done"

    def _hear(self, event: Event) -> None:
        if event.trial not in self._telling.running:
            return  # it was taken over meanwhile
        try:
            stop = self._telling.hear(event)
        except UpdateFinishedTrialError:
            self._drop(self._ids[event.trial])
            return
        if isinstance(event, Reported) and self._telling.prunes:
            self._pool.verdict(event.trial, stop=stop)
        elif not isinstance(event, Reported):
            self._let_go(event.trial)
            self._next_look = 0.0

    def _refuse(self, trial: Trial, reason: str) -> None:
        self._telling.fail(trial, reason)

    def _drop(self, trial_id: int) -> None:
        for number, its_id in list(self._ids.items()):
            if its_id == trial_id:
                self._telling.drop(number)
                self._let_go(number)
                self._pool.cancel(number, "it was taken over by another worker")

    def _over(self, ended: Ended) -> None:
        self._let_go(ended.number)
        self._ended(ended)

    def _let_go(self, number: int) -> None:
        trial_id = self._ids.pop(number, None)
        if trial_id is not None:
            self._node.let_go(trial_id)
