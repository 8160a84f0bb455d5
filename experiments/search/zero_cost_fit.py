"""A zero-cost measure, measured before the first trial and fitted as a sum over the stages."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ...search_space.chain.score import fitted
from ...search_space.errors import InputError
from ..config.schema import ExperimentConfig
from ..config.sections import ALONE, ZeroCostUse
from ..errors import RunError
from ..workers.pool import WorkerPool
from .jobs import Job, Outcome, run_jobs, setup_of, slots_of
from .prepare import Prepared
from .signals import StopRequest
from .zero_cost import said_of_fit

Settled = Callable[[ExperimentConfig | None], Prepared]
"""The config kept by the run going on, None where it begins -> the experiment, measured."""
_LOGARITHM = ("snip", "grad-norm")
"""Measures that grow by factors."""
_DRAWS = 20_000
"""Architectures whose sums say where the best part of a set begins; all, where it has no more."""


def with_measured(
    prepared: Prepared,
    kept: ExperimentConfig | None,
    *,
    log_path: Path,
    log: Callable[[str], None],
) -> Prepared:
    """The experiment with the fit in it: that of the run going on, `kept`, or measured now.

    Measured on workers, whose words go to `log_path`. Raises RunError where too few could be.
    """
    setting = prepared.config.zero_cost
    if setting is None:
        return prepared
    measured = _known(setting, kept)
    if measured is None:
        measured = _measured(prepared, setting, log_path)
        log(said_of_fit(setting, measured))
    return prepared.with_zero_cost(measured)


def with_kept(prepared: Prepared, kept: ExperimentConfig | None) -> Prepared:
    """As `with_measured`, where there are no workers to measure with: InputError where it would be
    needed."""
    setting = prepared.config.zero_cost
    if setting is None:
        return prepared
    measured = _known(setting, kept)
    if measured is None:
        allowed = "convnas launch measures it: begin this run directory with convnas launch"
        raise InputError("zero_cost.measure", setting.measure, allowed)
    return prepared.with_zero_cost(measured)


def _known(setting: ZeroCostUse, kept: ExperimentConfig | None) -> dict[str, Any] | None:
    """What was measured already: by the run going on, or given in the config."""
    if kept is not None and kept.zero_cost is not None and kept.zero_cost.measured is not None:
        return kept.zero_cost.measured
    return setting.measured


def _measured(prepared: Prepared, setting: ZeroCostUse, log_path: Path) -> dict[str, Any]:
    start = time.perf_counter()
    config, feasible = prepared.config, prepared.feasible
    rng = np.random.default_rng((config.seed, 3))
    drawn: dict[tuple[int, ...], None] = {}
    while len(drawn) < setting.candidates and not feasible.holds_at_most(len(drawn)):
        row = feasible.sample_unseen(rng, drawn)
        if row is None:
            break
        drawn[row] = None
    jobs = {feasible.point(row).key: row for row in drawn}
    evaluator = {"name": setting.measure, "batch_size": setting.batch_size}
    # A measure has one score, whatever the search is after.
    measuring = config.model_copy(update={"evaluator": evaluator, "objectives": ALONE})
    found: dict[tuple[int, ...], float] = {}

    def done(job: Job, outcome: Outcome) -> None:
        if outcome.score is not None:
            found[jobs[job.architecture.key]] = outcome.score

    slots = slots_of(measuring, feasible.dearest(), trials=len(jobs))
    with (
        WorkerPool(slots, setup_of(measuring, feasible.cheapest()), log=log_path) as pool,
        StopRequest(pool.wake) as stop,
    ):
        asked = (Job(feasible.point(row), config.seed) for row in drawn)
        if not run_jobs(asked, pool, done, stopped=lambda: stop.asked):
            raise RunError(f"stopped while {setting.measure} was being measured")
    # Workers end in any order; the sums of a fit are to be the same every time.
    rows = sorted(found)
    scores = np.array([found[row] for row in rows])
    if setting.measure in _LOGARITHM:
        # A measure of 0 has no logarithm; it gets one below all others.
        scores = np.log(np.maximum(scores, np.finfo(float).tiny))
    if setting.best == "lowest":
        scores = -scores
    if len(rows) < 8 or not scores.std():
        raise RunError(f"{setting.measure} could be measured for {len(rows)} architectures only")
    fit = fitted(feasible.chain, np.array(rows), scores)
    if feasible.holds_at_most(_DRAWS):
        everything = np.array(list(feasible.indices_in_order()))
    else:
        everything = feasible.sample_indices(rng, _DRAWS)
    # "higher" gives one of the sums themselves, so that some architecture meets the limit.
    least = int(np.quantile(fit.of(everything), 1 - setting.keep, method="higher"))
    return {
        "effects": [list(row) for row in fit.effects],
        "explained": round(fit.explained, 4),
        "least": least,
        "architectures": len(rows),
        "seconds": round(time.perf_counter() - start, 2),
    }
