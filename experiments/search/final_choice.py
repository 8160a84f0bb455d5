"""The final choice: the best few of a search are scored again with other seeds before one wins.

A search picks the luckiest of many single readings, so its best score is too high and its winner
often not the best. The readings here are of seeds that the search has not seen, kept in a second
study of the same storage, and what they cannot tell apart is called a tie.
"""

from __future__ import annotations

import math
import time

import optuna
from optuna.trial import FrozenTrial, TrialState, create_trial

from ...evaluators.table import stages_text
from ...search_space import Architecture
from ..run import study as records
from ..run.finalists import Finalist, finalists
from .jobs import Job, Outcome, run_jobs
from .progress import Pace, Progress
from .session import Session


def choose(session: Session) -> Architecture | None:
    """Score the best of the search with new seeds, and return the best of them by those.

    None where there are no two to choose from, or `session.stop` came before any score.
    """
    final, seed = session.config.final, session.config.seed
    found = records.ranked(session.study.get_trials(deepcopy=False))[: final.top]
    if len(found) < 2:
        return None
    # Beginning after `seed`, with which the search made all of its own readings.
    seeds = [(seed + 1 + i) % 2**32 for i in range(final.seeds)]
    session.log(f"final: the best {len(found)} trials, {len(seeds)} seeds each")
    ranked = _scored_again(session, found, seeds)
    if not ranked:
        return None
    (winner,) = (t for t in found if t.number == ranked[0].trial)
    return _architecture(winner)


def _scored_again(session: Session, found: list[FrozenTrial], seeds: list[int]) -> list[Finalist]:
    """Those of `found` that have scores, judged, after every one of `seeds` that was missing."""
    study = optuna.create_study(
        storage=session.study._storage,
        study_name=session.config.name + records.FINAL,
        direction="maximize",
        load_if_exists=True,
    )
    by = session.config.final.by
    # Failed readings are among them: what failed is not tried again when a choice goes on.
    done = {
        (records.key_of(t), t.user_attrs["seed"])
        for t in study.get_trials(deepcopy=False)
        if t.user_attrs.get("by") == by
    }
    # Trials of 0.1.0 may be of one network; the best of them stands for it.
    by_key = {records.key_of(t): t for t in reversed(found)}
    # Seed by seed, so that whoever stops early has read all of them equally often.
    jobs = [
        Job(_architecture(t), seed)
        for seed in seeds
        for key, t in by_key.items()
        if (key, seed) not in done
    ]

    total, over, pace, before = len(jobs), 0, Pace(), time.monotonic()

    def keep(job: Job, outcome: Outcome) -> None:
        nonlocal over, before
        line = _keep(study, by_key[job.architecture.key], job.seed, outcome, by)
        session.log(line)
        over, now = over + 1, time.monotonic()
        # From one to the next: in this list all workers are busy until the end.
        pace.add(now - before)
        before = now
        session.watch(_progress(session, found, (over, total), pace.left(total - over, ()), line))

    session.watch(_progress(session, found, (0, total), None, ""))
    run_jobs(jobs, session.pool, keep, stopped=session.stop)
    kept = [t for t in study.get_trials(deepcopy=False) if records.key_of(t) in by_key]
    return finalists(kept)


def _progress(
    session: Session,
    found: list[FrozenTrial],
    final: tuple[int, int],
    seconds_left: float | None,
    news: str,
) -> Progress:
    counted = records.count(session.study.get_trials(deepcopy=False))
    best = found[0]
    return Progress(
        total=session.config.trials,
        complete=counted["complete"],
        pruned=counted["pruned"],
        failed=counted["failed"],
        running=0,
        best_score=best.values[0],
        best=stages_text(_architecture(best)),
        feasible_share=session.prepared.feasible.share,
        seconds_left=seconds_left,
        news=news,
        final=final,
    )


def _keep(
    study: optuna.Study,
    of: FrozenTrial,
    seed: int,
    outcome: Outcome,
    by: str | None,
) -> str:
    """Returns what has come of it, in one line."""
    attrs = {"trial": of.number, "key": of.user_attrs["key"], "seed": seed}
    attrs["architecture"] = of.user_attrs["architecture"]
    if by is not None:
        attrs["by"] = by
    score = outcome.score if by is None else outcome.metrics.get(by)
    if score is not None and math.isfinite(score):
        study.add_trial(create_trial(value=score, user_attrs=attrs))
        return f"final: trial {of.number} with seed {seed}: {score:.4f}"
    known = ", ".join(sorted(outcome.metrics))
    missing = f"the evaluator measures no {by}; its metrics: {known}"
    reason = outcome.reason or (missing if score is None else f"its score is {score}")
    study.add_trial(create_trial(state=TrialState.FAIL, user_attrs={**attrs, "reason": reason}))
    return f"final: trial {of.number} with seed {seed} failed, {reason}"


def _architecture(trial: FrozenTrial) -> Architecture:
    return Architecture.from_dict(trial.user_attrs["architecture"])
