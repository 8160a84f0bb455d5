"""What a final choice has found: a search's best, their scores with new seeds, and the ties."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from optuna.trial import FrozenTrial, TrialState

_CONFIDENCE = 0.95


@dataclass(frozen=True)
class Finalist:
    """An architecture of the search and its scores with new seeds."""

    trial: int
    key: str
    scores: tuple[float, ...]
    tied: bool = False
    """Whether its mean cannot be told from the winner's (the winner of a tie too)."""

    @property
    def mean(self) -> float:
        return statistics.fmean(self.scores)

    @property
    def spread(self) -> float | None:
        """Standard deviation over the seeds; None for one, which says nothing of it."""
        return statistics.stdev(self.scores) if len(self.scores) > 1 else None

    @property
    def shown(self) -> str:
        """The mean, and the spread where there is one."""
        return f"{self.mean:.4f}" + ("" if self.spread is None else f" +- {self.spread:.4f}")

    @property
    def seeds(self) -> str:
        """How many there were, in words."""
        return f"{len(self.scores)} new seed" + "s" * (len(self.scores) > 1)

    def to_dict(self) -> dict[str, Any]:
        return {
            "mean": self.mean,
            "spread": self.spread,
            "seeds": len(self.scores),
            "tied": self.tied,
        }


def judged(finalists: Iterable[Finalist]) -> list[Finalist]:
    """Best mean first, ties marked.

    Tied with the winner are those whose mean is less than a one-sided 95 % t-quantile of standard
    errors below it; the error is pooled over all finalists, whose three scores each say little.
    """
    from scipy.stats import t as student

    ranked = sorted(finalists, key=lambda one: (-one.mean, one.trial))
    freedom = sum(len(one.scores) - 1 for one in ranked)
    # With one score each there is no spread to judge by: nothing is called a tie.
    if not ranked or not freedom:
        return ranked
    pooled = sum((s - one.mean) ** 2 for one in ranked for s in one.scores) / freedom
    best = ranked[0]

    def near(one: Finalist) -> bool:
        # Standard error of the difference of two means.
        error = math.sqrt(pooled * (1 / len(best.scores) + 1 / len(one.scores)))
        return best.mean - one.mean <= float(student.ppf(_CONFIDENCE, freedom)) * error

    tied = [near(one) for one in ranked]
    several = sum(tied) > 1
    return [
        Finalist(one.trial, one.key, one.scores, tied=is_near and several)
        for one, is_near in zip(ranked, tied, strict=True)
    ]


def finalists(trials: Iterable[FrozenTrial]) -> list[Finalist]:
    """From the second study's trials; where they went by several metrics, by the latest one."""
    trials = list(trials)
    by = trials[-1].user_attrs.get("by") if trials else None
    scores: dict[tuple[int, str], list[float]] = {}
    for trial in trials:
        if trial.state == TrialState.COMPLETE and trial.user_attrs.get("by") == by:
            of = (trial.user_attrs["trial"], trial.user_attrs["key"])
            scores.setdefault(of, []).append(trial.values[0])
    return judged(Finalist(number, key, tuple(all_)) for (number, key), all_ in scores.items())
