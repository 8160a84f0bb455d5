"""A search on this machine: one process asks the strategy, serves the workers, tells the study."""

from __future__ import annotations

from ..workers.dispatch import Ending, Task, TaskSource
from ..workers.events import Event
from .propose import Proposal, Proposer
from .session import Session


class LocalSearch(TaskSource):
    """From what the study holds to `config.trials` trials in all."""

    def __init__(self, session: Session) -> None:
        self._seed, self._wanted = session.config.seed, session.config.trials
        self._trials = session.trial_log()
        self._proposer = Proposer(
            session.study, session.prepared.feasible, refuse=self._trials.fail, log=session.log
        )
        self.verdicts = self._trials.prunes
        # The log first: it ends the trials whose scores were kept, and the rest may be adopted.
        self._proposer.take_stock(self._trials.take_stock())
        self._trials.show("")

    def next(self) -> Task | None:
        proposal = self._proposer.left() or self._new()
        if proposal is None:
            return None
        self._trials.start(proposal)
        return Task(proposal.trial.number, proposal.architecture, self._seed)

    def hear(self, event: Event) -> bool:
        return self._trials.hear(event)

    def ending(self) -> Ending | None:
        if self._trials.running:
            return None
        if self._trials.done >= self._wanted:
            return "done"
        return "exhausted" if self._proposer.exhausted else None

    def _new(self) -> Proposal | None:
        # This ends: a refused trial is told as failed, which leaves one fewer open.
        while self._trials.open > 0:
            if (proposal := self._proposer.new()) is not None:
                return proposal
            if self._proposer.exhausted:
                self._trials.take_stock()  # the trial that asked in vain counts too
                break
        return None
