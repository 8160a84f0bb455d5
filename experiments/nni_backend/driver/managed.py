"""What the two searches under NNI share: NNI starts the trials, and its tuner reports to us."""

from __future__ import annotations

import queue
from abc import abstractmethod
from typing import Any

from optuna.trial import FrozenTrial, Trial

from ....search_space import Architecture
from ...search.propose import Proposal
from ...search.session import Session
from ...workers.channel import Message
from ...workers.dispatch import Ending, TaskSource
from .endings import Endings
from .manager import Manager
from .manager_queue import ManagerQueue
from .socket_server import Connection


class ManagedSearch(TaskSource):
    """From what the study holds to `config.trials` trials in all, started by NNI's manager.

    `attach` gives it the manager once that answers. Raises RunError, with the true reason, when the
    tuner or the manager ends before the search.
    """

    def __init__(self, session: Session) -> None:
        self._session, self._study = session, session.study
        self.trials = session.trial_log()
        self._inbox: queue.SimpleQueue[tuple[Connection | None, Message]] = queue.SimpleQueue()
        self._tuner: Connection | None = None
        self._endings = Endings(session.config, self.trials)

    def attach(self, manager: Manager, queue: ManagerQueue) -> None:
        self._manager, self._queue = manager, queue

    def receive(self, connection: Connection | None, message: Message) -> None:
        """Something was said; may be called from any thread."""
        self._inbox.put((connection, message))
        # The search waits in the pool for events: have it look at the inbox now.
        self._session.pool.wake()

    def look(self) -> None:
        while not self._inbox.empty():
            self.handle(*self._inbox.get())

    @abstractmethod
    def handle(self, connection: Connection | None, message: Message) -> None:
        """One thing that was said, in the search's own thread."""

    def release(self) -> None:
        """Have the tuner end: the search is over."""
        if self._tuner is not None:
            self._tuner.finish()

    def _ending(self, *, busy: bool, alive: bool) -> Ending | None:
        """As `Endings.look`."""
        return self._endings.look(self._manager, self._queue.status, busy, alive)

    def _frozen(self, number: int) -> FrozenTrial:
        return self._study.get_trials(deepcopy=False)[number]

    def _proposal(self, number: int) -> Proposal:
        """Of a trial that the tuner has asked for, in its own process."""
        trial = self._frozen(number)
        attrs: dict[str, Any] = trial.user_attrs
        architecture = Architecture.from_dict(attrs["architecture"])
        return Proposal(Trial(self._study, trial._trial_id), architecture)
