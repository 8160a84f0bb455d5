"""The search loop: ask the strategy, hand out to workers, tell the study. One process does all three."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from ...search_space import Architecture
from ..config.schema import ExperimentConfig
from ..workers.events import Reported
from ..workers.pool import WorkerPool
from .propose import Asking, Proposal
from .trial_log import Telling

Ending = Literal["done", "exhausted", "stopped"]


class Search:
    """One search on this machine, from what the study holds to `config.trials` trials in all."""

    def __init__(
        self, config: ExperimentConfig, asking: Asking, telling: Telling, pool: WorkerPool
    ) -> None:
        self._config, self._asking, self._telling, self._pool = config, asking, telling, pool

    def run(self, stop: Callable[[], bool], on_best: Callable[[Architecture], None]) -> Ending:
        """Until the trials are done, the set is exhausted, or `stop` says so."""
        self._asking.take_stock(self._telling.take_stock())
        on_change = self._telling.best
        if on_change is not None:
            on_best(on_change[1])
        self._telling.show("")
        while not stop():
            self._hand_out()
            if not self._telling.running:
                if self._telling.done >= self._config.trials:
                    return "done"
                if self._asking.exhausted:
                    return "exhausted"
            for event in self._pool.wait(1.0):
                verdict = self._telling.hear(event)
                if isinstance(event, Reported) and self._telling.prunes:
                    self._pool.verdict(event.trial, stop=verdict)
            best = self._telling.best
            if best is not None and best is not on_change:
                on_change = best
                on_best(best[1])
        return "stopped"

    def _hand_out(self) -> None:
        while self._pool.idle:
            proposal = self._asking.left() or self._next()
            if proposal is None:
                return
            self._telling.start(proposal)
            self._pool.submit(
                proposal.trial.number,
                proposal.architecture.to_dict(),
                seed=self._config.seed,
                verdicts=self._telling.prunes,
            )

    def _next(self) -> Proposal | None:
        while self._telling.open > 0:
            if (proposal := self._asking.new()) is not None:
                return proposal
            if self._asking.exhausted:
                self._telling.take_stock()  # the trial that asked in vain counts too
                break
        return None
