"""Where a running search stands, as told to whoever shows it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """`feasible_share`: the part of the space inside the budget. `seconds_left`: None until known,
    the final choice's trainings among them; `final` is how many of these there are, and how many of
    them are over, once it has begun.

    `news` is one line about what just happened, empty for a mere start.
    """

    total: int
    complete: int
    pruned: int
    failed: int
    running: int
    best_score: float | None
    best: str
    feasible_share: float
    seconds_left: float | None
    news: str
    final: tuple[int, int] | None = None

    @property
    def done(self) -> int:
        return self.complete + self.pruned + self.failed


@dataclass
class Pace:
    """How long trainings take, to tell what is left: the mean of those that ended in this process,
    which, unlike their rate, says the same from the first one on, however many run at once."""

    ended: int = 0
    seconds: float = 0.0
    at_once: int = 1

    def add(self, seconds: float) -> None:
        """One has ended after so long."""
        self.ended += 1
        self.seconds += seconds

    def left(self, waiting: int, running: Iterable[float]) -> float | None:
        """Seconds until `waiting` trainings are over, and the running ones, begun so many seconds
        ago. None until one has ended."""
        begun = list(running)
        self.at_once = max(self.at_once, len(begun))
        if not self.ended:
            return None
        mean = self.seconds / self.ended
        return (waiting * mean + sum(max(0.0, mean - each) for each in begun)) / self.at_once


Watch = Callable[[Progress], None]


def unwatched(progress: Progress) -> None:
    """For a run that nobody looks at."""
