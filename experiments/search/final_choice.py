"""The final choice: the best few of a search are scored again with other seeds before one wins.

A search picks the luckiest of many single readings, so its best score is too high and its winner
often not the best. The readings here are of seeds that the search has not seen, kept in a second
study of the same storage, and what they cannot tell apart is called a tie.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from ...search_space import Architecture
from ..run import study as records
from ..workers.events import Failed, Scored
from ..workers.pool import WorkerPool

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
    if not ranked or not freedom:
        return ranked
    pooled = sum((s - one.mean) ** 2 for one in ranked for s in one.scores) / freedom
    best = ranked[0]

    def near(one: Finalist) -> bool:
        error = math.sqrt(pooled * (1 / len(best.scores) + 1 / len(one.scores)))
        return best.mean - one.mean <= float(student.ppf(_CONFIDENCE, freedom)) * error

    tied = [near(one) for one in ranked]
    several = sum(tied) > 1
    return [
        Finalist(one.trial, one.key, one.scores, tied=is_near and several)
        for one, is_near in zip(ranked, tied, strict=True)
    ]


def finalists(trials: Iterable[FrozenTrial]) -> list[Finalist]:
    """From the second study's trials."""
    scores: dict[tuple[int, str], list[float]] = {}
    for trial in trials:
        if trial.state == TrialState.COMPLETE:
            of = (trial.user_attrs["trial"], trial.user_attrs["key"])
            scores.setdefault(of, []).append(trial.values[0])
    return judged(Finalist(number, key, tuple(all_)) for (number, key), all_ in scores.items())


def run_final(
    storage: RDBStorage,
    name: str,
    found: list[FrozenTrial],
    seeds: list[int],
    pool: WorkerPool,
    *,
    stop: Callable[[], bool],
    log: Callable[[str], None],
) -> list[Finalist]:
    """Score the trials `found` with every one of `seeds` that they have not been scored with.

    Returns those of `found` that have scores, judged; fewer where `stop` says so.
    """
    study = optuna.create_study(
        storage=storage, study_name=name + records.FINAL, direction="maximize", load_if_exists=True
    )
    done = {(t.user_attrs["key"], t.user_attrs["seed"]) for t in study.get_trials(deepcopy=False)}
    # Seed by seed, so that whoever stops early has read all of them equally often.
    jobs = [(t, s) for s in seeds for t in found if (t.user_attrs["key"], s) not in done]
    running: dict[int, tuple[FrozenTrial, int]] = {}
    waiting = list(enumerate(jobs))
    while (waiting or running) and not stop():
        while waiting and pool.idle:
            number, job = waiting.pop(0)
            running[number] = job
            pool.submit(number, job[0].user_attrs["architecture"], seed=job[1], verdicts=False)
        for event in pool.wait(1.0):
            if isinstance(event, Scored | Failed):
                _keep(study, *running.pop(event.trial), event, log)
    keys = {t.user_attrs["key"] for t in found}
    kept = [t for t in study.get_trials(deepcopy=False) if t.user_attrs["key"] in keys]
    return finalists(kept)


def _keep(
    study: optuna.Study,
    of: FrozenTrial,
    seed: int,
    event: Scored | Failed,
    log: Callable[[str], None],
) -> None:
    attrs = {"trial": of.number, "key": of.user_attrs["key"], "seed": seed}
    attrs["architecture"] = of.user_attrs["architecture"]
    if isinstance(event, Scored) and math.isfinite(event.score):
        study.add_trial(create_trial(value=event.score, user_attrs=attrs))
        log(f"final: trial {of.number} with seed {seed}: {event.score:.4f}")
        return
    reason = event.reason if isinstance(event, Failed) else f"its score is {event.score}"
    study.add_trial(create_trial(state=TrialState.FAIL, user_attrs={**attrs, "reason": reason}))
    log(f"final: trial {of.number} with seed {seed} failed, {reason}")


def architecture_of(found: list[FrozenTrial], finalist: Finalist) -> Architecture:
    """Of the trials that went in, the finalist's architecture."""
    (trial,) = (t for t in found if t.number == finalist.trial)
    return Architecture.from_dict(trial.user_attrs["architecture"])
