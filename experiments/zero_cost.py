"""A zero-cost measure that guides the search: `zero_cost: {measure: snip, use: filter}`.

Before the first trial some architectures inside the budget are measured, one mini-batch each, and
the measure is fitted as a sum over the stages: one more exact cost. As a filter it confines the
search to the part of the feasible set with the highest sums; as a feature it is one more thing that
the predictor knows of every architecture. How well it ranks what the search trained is always said:
in some spaces it does not.

The fit is kept in the run's config, so that a run that goes on has the same feasible set.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from optuna.trial import FrozenTrial
from pydantic import BaseModel, ConfigDict, Field

from ..search_space.additive import SCORE, fitted
from ..search_space.errors import InputError
from .errors import RunError

if TYPE_CHECKING:
    from pathlib import Path

    from ..search_space import Architecture, FeasibleSet, SearchSpace
    from .config import ExperimentConfig

Settled = Callable[["ExperimentConfig | None"], "ExperimentConfig"]
"""The config kept by the run going on, None where it begins -> the config with its measurement."""
_LOGARITHM = ("snip", "grad-norm")
"""Measures that grow by factors."""
_DRAWS = 20_000
"""Architectures whose sums say where the best part of a set begins; all, where it has no more."""
_LEAST_KNOWN = 8
"""Complete trials needed before the rank correlation is said."""


class ZeroCost(BaseModel):
    """`best`: whether a high or a low measure is thought to be good; `keep`: the part of the
    feasible set that a filter leaves; `candidates`: architectures that are measured, drawn
    uniformly; `measured` is written by the launch."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    measure: Literal["snip", "grad-norm", "synflow", "naswot"]
    use: Literal["filter", "feature"] = "filter"
    best: Literal["highest", "lowest"] = "highest"
    keep: Annotated[float, Field(gt=0, lt=1)] = 0.5
    candidates: Annotated[int, Field(ge=16, le=100_000)] = 128
    batch_size: Annotated[int, Field(ge=2)] = 64
    measured: dict[str, Any] | None = None


def guided(config: ExperimentConfig, space: SearchSpace) -> SearchSpace:
    """The space with the measure among its costs, once it has been measured."""
    setting = config.zero_cost
    if setting is None or setting.measured is None:
        return space
    try:
        effects = [[int(value) for value in row] for row in setting.measured["effects"]]
    except (KeyError, TypeError, ValueError):
        allowed = "it is what a launch writes: take it out, and it is measured again"
        raise InputError("zero_cost.measured", setting.measured, allowed) from None
    return space.scored(SCORE, effects)


def least_of(config: ExperimentConfig) -> dict[str, int]:
    """What a filter asks of the measure's sum; empty where nothing is filtered."""
    setting = config.zero_cost
    if setting is None or setting.measured is None or setting.use != "filter":
        return {}
    return {SCORE: int(setting.measured["least"])}


def check(config: ExperimentConfig) -> None:
    """Raises InputError for a feature that nothing would learn from."""
    setting = config.zero_cost
    if setting and setting.use == "feature" and config.strategy.name != "predictor":
        allowed = f"only the strategy predictor learns from it; {config.strategy.name} takes filter"
        raise InputError("zero_cost.use", "feature", allowed)


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
    config: ExperimentConfig, setting: ZeroCost, measured: dict[str, Any]
) -> ExperimentConfig:
    known = setting.model_copy(update={"measured": measured})
    return config.model_copy(update={"zero_cost": known})


def _known(setting: ZeroCost | None, kept: ExperimentConfig | None) -> dict[str, Any] | None:
    """What was measured already: by the run going on, or given in the config."""
    if kept is not None and kept.zero_cost is not None and kept.zero_cost.measured is not None:
        return kept.zero_cost.measured
    return setting.measured if setting else None


def _measured(
    config: ExperimentConfig,
    setting: ZeroCost,
    feasible: FeasibleSet[Architecture],
    log_path: Path,
) -> dict[str, Any]:
    from .jobs import Job, Outcome, run_jobs, setup_of, slots_of
    from .signals import StopRequest
    from .workers import Pool

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
        Pool(slots, setup_of(measuring, feasible.cheapest()), log=log_path) as pool,
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


def said_of_fit(setting: ZeroCost, measured: dict[str, Any]) -> str:
    """One line about the measurement."""
    explained = 100 * max(measured["explained"], 0.0)
    said = (
        f"zero-cost {setting.measure}: {measured['architectures']} architectures measured in "
        f"{measured['seconds']:.0f} s; a sum over the stages explains {explained:.0f} % of it"
    )
    kept = f"; the {setting.best} {100 * setting.keep:.3g} % of the feasible set are searched"
    return said + (kept if setting.use == "filter" else "")


def facts_of(config: ExperimentConfig, trials: list[FrozenTrial]) -> dict[str, Any] | None:
    """JSON-able: the measure, its fit, and Kendall's tau of the measure's sum with the score over
    the complete trials (95 % interval), None while they are few; None where no measure guides."""
    setting = config.zero_cost
    if setting is None or setting.measured is None:
        return None
    from ..evaluators.rank import agreement

    pairs = [
        (trial.user_attrs[SCORE], trial.values[0])
        for trial in trials
        if trial.values and SCORE in trial.user_attrs
    ]
    found: dict[str, Any] = {
        "measure": setting.measure if setting.best == "highest" else f"low {setting.measure}",
        "use": setting.use,
        "said": said_of_fit(setting, setting.measured),
        "trials": len(pairs),
        "tau": None,
    }
    if len(pairs) >= _LEAST_KNOWN:
        tau = agreement(*zip(*pairs, strict=True))
        if math.isfinite(tau.tau):
            found |= {"tau": round(tau.tau, 4), "interval": [round(tau.low, 4), round(tau.high, 4)]}
    return found


def said_of(facts: dict[str, Any] | None) -> list[str]:
    """Lines for people."""
    if facts is None:
        return []
    if facts["tau"] is None:
        return [facts["said"], f"its rank correlation is not known yet ({facts['trials']} trials)"]
    low, high = facts["interval"]
    said = (
        f"{facts['measure']} ranks the {facts['trials']} trained with Kendall's tau "
        f"{facts['tau']:.2f} (95 %: {low:.2f} to {high:.2f})"
    )
    if high < 0:
        said += ": the wrong way round here (zero_cost.best says which way is good)"
    elif low <= 0:
        said += ": no better than chance, for all this run can tell"
    return [facts["said"], said]
