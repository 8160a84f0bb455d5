"""A zero-cost measure, measured before the first trial and fitted as a sum over the stages."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ...search_space import Architecture, FeasibleSet
from ...search_space.chain.score import fitted
from ...search_space.errors import InputError
from ..config.schema import ExperimentConfig
from ..errors import RunError
from ..workers.pool import WorkerPool
from .jobs import Job, Outcome, run_jobs, setup_of, slots_of
from .signals import StopRequest
from .zero_cost import ZeroCostUse, said_of_fit

Settled = Callable[[ExperimentConfig | None], ExperimentConfig]
"""The config kept by the run going on, None where it begins -> the config with its measurement."""
_LOGARITHM = ("snip", "grad-norm")
"""Measures that grow by factors."""
_DRAWS = 20_000
"""Architectures whose sums say where the best part of a set begins; all, where it has no more."""


def with_measured(
    config: ExperimentConfig,
    kept: ExperimentConfig | None,
    feasible: FeasibleSet[Architecture],
    log_path: Path,
    log: Callable[[str], None],
) -> ExperimentConfig:
    """The config with the fit in it: that of the run going on, `kept`, or measured now, on workers.

    feasible: the set before any filter. Raises RunError where too few could be measured.
    """
    setting = config.zero_cost
    measured = _known(setting, kept)
    if setting is None:
        return config
    if measured is None:
        measured = _measured(config, setting, feasible, log_path)
        log(said_of_fit(setting, measured))
    return _settled(config, setting, measured)


def with_kept(config: ExperimentConfig, kept: ExperimentConfig | None) -> ExperimentConfig:
    """As `with_measured`, where there are no workers to measure with: InputError where it would be
    needed."""
    setting = config.zero_cost
    measured = _known(setting, kept)
    if setting is None:
        return config
    if measured is None:
        allowed = "convnas launch measures it: begin this run directory with convnas launch"
        raise InputError("zero_cost.measure", setting.measure, allowed)
    return _settled(config, setting, measured)


def _settled(
    config: ExperimentConfig, setting: ZeroCostUse, measured: dict[str, Any]
) -> ExperimentConfig:
    known = setting.model_copy(update={"measured": measured})
    return config.model_copy(update={"zero_cost": known})


def _known(setting: ZeroCostUse | None, kept: ExperimentConfig | None) -> dict[str, Any] | None:
    """What was measured already: by the run going on, or given in the config."""
    if kept is not None and kept.zero_cost is not None and kept.zero_cost.measured is not None:
        return kept.zero_cost.measured
    return setting.measured if setting else None


def _measured(
    config: ExperimentConfig,
    setting: ZeroCostUse,
    feasible: FeasibleSet[Architecture],
    log_path: Path,
) -> dict[str, Any]:
    start = time.perf_counter()
    rng = np.random.default_rng((config.seed, 3))
    drawn: dict[tuple[int, ...], None] = {}
    while len(drawn) < setting.candidates and not feasible.holds_at_most(len(drawn)):
        row = feasible.sample_unseen(rng, drawn)
        if row is None:
            break
        drawn[row] = None
    jobs = {feasible.point(row).key: row for row in drawn}
    evaluator = {"name": setting.measure, "batch_size": setting.batch_size}
    measuring = config.model_copy(update={"evaluator": evaluator})
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
    rows = sorted(found)
    scores = np.array([found[row] for row in rows])
    if setting.measure in _LOGARITHM:
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
    least = int(np.quantile(fit.of(everything), 1 - setting.keep, method="higher"))
    return {
        "effects": [list(row) for row in fit.effects],
        "explained": round(fit.explained, 4),
        "least": least,
        "architectures": len(rows),
        "seconds": round(time.perf_counter() - start, 2),
    }
