"""The search loop of one node among many: take, claim, train, tell, until all are done together."""

from __future__ import annotations

import functools
import random
import time

from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, Trial

from ..run import study as records
from ..search.propose import Proposal, Proposer
from ..search.session import Session
from ..workers.dispatch import Ending, Task, TaskSource, dispatch
from ..workers.events import Event, Reported
from .ledger import CONFIG_KEY, Ledger, Lost
from .node import Node

_LOOK = 5.0
"""Seconds, about, between two looks of a node that waits for others."""

_COUNT = 10.0
"""Seconds between two looks at what all nodes have made."""

_MANY = 10**7
"""A space with more architectures is taken for one that no search uses up."""


class ClusterSearch(TaskSource):
    """The part of one node in the search of the session's study, by the study's own config.

    `follow`: whether the trials of all nodes are looked at now and then, for whoever watches.
    """

    def __init__(self, session: Session, node: Node, *, follow: bool) -> None:
        feasible = session.prepared.feasible
        self._session, self._study, self._node = session, session.study, node
        self._storage: BaseStorage = session.study._storage
        self._follow = follow
        self._points: int | None = None
        if feasible.holds_at_most(_MANY):
            trials = session.study.get_trials(deepcopy=False)
            held = [records.key_of(trial) for trial in trials if "key" in trial.user_attrs]
            # In a study of 0.1.0 several trials may hold one architecture.
            self._points = feasible.count + len(held) - len(set(held))
        self._exhausted = self._asked_in_vain = False
        self._next_look = self._next_count = 0.0
        self._trials = session.trial_log(
            ended=self._over, ours=lambda trial: node.ours(trial._trial_id)
        )
        self.verdicts = self._trials.prunes
        self._proposer = Proposer(
            session.study,
            feasible,
            refuse=self._trials.fail,
            log=session.log,
            claim=lambda trial, key: node.claim(trial._trial_id, key),
        )
        # From a trial's number to its id in the storage, for what is in training here.
        self._ids: dict[int, int] = {}
        session.prepared.strategy.claim = lambda trial_id, point: node.claim(
            trial_id, feasible.point(point).key
        )
        self._trials.recount()
        self._trials.show("")

    def look(self) -> None:
        for trial_id in self._node.lost():
            self._drop(trial_id)
        if self._follow and time.monotonic() >= self._next_count:
            self._next_count = time.monotonic() + _COUNT
            self._trials.recount()

    def next(self) -> Task | None:
        if time.monotonic() < self._next_look:
            return None
        proposal = self._proposed()
        if proposal is None:
            # Others wait as well: not all at the same moment.
            self._next_look = time.monotonic() + _LOOK * random.uniform(0.5, 1.5)
            self._asked_in_vain = True
            self._trials.recount()
            self._trials.show("")
            return None
        self._trials.start(proposal)
        return Task(proposal.trial.number, proposal.architecture, self._session.config.seed)

    def ending(self) -> Ending | None:
        if not self._asked_in_vain:
            return None  # there is work; and each look costs the database a question
        self._asked_in_vain = False
        return self._seen_ending()

    def _proposed(self) -> Proposal | None:
        while True:
            # Read each time: a launch that goes on may have changed the number of trials.
            kept = self._storage.get_study_system_attrs(self._study._study_id)
            # Every round takes one trial. One that turns out finished, refused or lost is let go,
            # and the next is taken.
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
            self._exhausted |= self._proposer.exhausted

    def _proposal(self, trial_id: int, *, again: bool) -> Proposal | None:
        if again:
            left = self._storage.get_trial(trial_id)
            if left.state.is_finished():
                return None
            self._session.log(f"trial {left.number}: adopted from a worker that fell silent")
            if "score" in left.user_attrs:
                # It was scored; its worker died between keeping the score and telling the study.
                records.tell_kept(self._study, left)
                return None
        self._study._thread_local.cached_all_trials = None  # as `Study.ask` does
        return self._proposer.propose(functools.partial(Trial, self._study, trial_id))

    def _seen_ending(self) -> Ending | None:
        if self._trials.running:
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
        self._trials.recount()
        return "done"

    def hear(self, event: Event) -> bool:
        if event.trial not in self._trials.running:
            return False  # it was taken over meanwhile
        try:
            stop = self._trials.hear(event)
        except UpdateFinishedTrialError:
            # Another node has taken it over and told the study first: this result is one too many.
            self._drop(self._ids[event.trial])
            return False
        if not isinstance(event, Reported):
            self._let_go(event.trial)
            # It may be the one that all were waiting for: look at once.
            self._next_look = 0.0
        return stop

    def _drop(self, trial_id: int) -> None:
        for number, its_id in list(self._ids.items()):
            if its_id == trial_id:
                self._trials.drop(number)
                self._let_go(number)
                self._session.pool.cancel(number, "it was taken over by another worker")

    def _over(self, ended: FrozenTrial) -> None:
        self._let_go(ended.number)
        self._session.ended(ended)

    def _let_go(self, number: int) -> None:
        trial_id = self._ids.pop(number, None)
        if trial_id is not None:
            self._node.let_go(trial_id)


def take_part(session: Session, ledger: Ledger, *, follow: bool) -> Ending:
    """A node's whole part in a search: until all its trials are over, whoever makes them.

    `follow`: as for `ClusterSearch`.
    """
    storage = session.config.storage
    assert storage is not None
    with Node(ledger, heartbeat=storage.heartbeat, log=session.log) as node:
        session.log(f"node: {node.name}")
        return dispatch(ClusterSearch(session, node, follow=follow), session.pool, session.stop)
