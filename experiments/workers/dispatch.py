"""The loop that gives work to idle workers and passes on what they say: there is no other.

Whoever has work for a pool is a `TaskSource`: a search, many evaluations in a row, a comparison.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from ...search_space import Architecture
from .events import Event, Reported
from .pool import WorkerPool

Ending = Literal["done", "exhausted", "stopped"]


@dataclass(frozen=True)
class Task:
    """One evaluation. What a worker says of it comes back under `number`, as `Event.trial`."""

    number: int
    architecture: Architecture
    seed: int


class TaskSource(ABC):
    """Where tasks come from, and who hears what becomes of them."""

    verdicts = False
    """Whether a worker waits after each report for the answer of `hear`."""

    def look(self) -> None:
        """See to whatever else has happened: called first in every round."""
        return

    @abstractmethod
    def next(self) -> Task | None:
        """The next task, for a worker that is idle; None where there is none at the moment."""

    @abstractmethod
    def hear(self, event: Event) -> bool:
        """An event of a task; after a report, True stops its evaluation."""

    @abstractmethod
    def ending(self) -> Ending | None:
        """How it all has ended, asked once idle workers have been served; None while it goes on."""


def dispatch(
    source: TaskSource, pool: WorkerPool, stop: Callable[[], bool], *, seconds: float = 1.0
) -> Ending:
    """Until the source has ended or `stop` says so; `seconds` is the longest wait of a round.

    Raises what `WorkerPool.wait` raises.
    """
    while not stop():
        source.look()
        while pool.idle and (task := source.next()) is not None:
            pool.submit(
                task.number,
                task.architecture.to_dict(),
                seed=task.seed,
                verdicts=source.verdicts,
            )
        if (ending := source.ending()) is not None:
            return ending
        for event in pool.wait(seconds):
            verdict = source.hear(event)
            if source.verdicts and isinstance(event, Reported):
                pool.verdict(event.trial, stop=verdict)
    return "stopped"
