"""Where a running search stands, as told to whoever shows it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """`feasible_share`: the part of the space inside the budget. `seconds_left`: None until known.

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

    @property
    def done(self) -> int:
        return self.complete + self.pruned + self.failed


Watch = Callable[[Progress], None]


def unwatched(progress: Progress) -> None:
    """For a run that nobody looks at."""
