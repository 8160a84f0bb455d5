"""What a comparison of strategies finds: anytime curves with bands, and paired tests."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...search_space import Architecture
from .repeated_searches import BASELINE, Run

Floats = NDArray[np.float64]

SIGNIFICANT = 0.05
"""Below it a p-value tells two strategies apart."""

_DRAWS = 20_000  # 2^14 and more: up to 14 pairs all flips are gone through
_POINTS = 60


@dataclass(frozen=True)
class Truth:
    """What a table with several seeds knows of an architecture: `mean_of` gives the mean score
    over all `seeds`, nan where there is none; `best`: the highest inside the budget."""

    seeds: int
    best: float
    mean_of: Callable[[Architecture | None], float]


def best_so_far(run: Run, trials: int) -> Floats:
    """(trials,) the best score after each training; nan before the first, flat once exhausted."""
    scores = [np.nan if one.score is None else one.score for one in run.readings]
    padded = np.array(scores + [np.nan] * (trials - len(scores)))
    return np.fmax.accumulate(padded)


def at_seconds(run: Run, grid: Floats) -> Floats:
    """The best score once that many seconds of training were spent."""
    curve = best_so_far(run, len(run.readings))
    ends = np.cumsum([one.seconds for one in run.readings])
    # How many trainings were over by each time, those that ended just then included.
    done = np.searchsorted(ends, grid, side="right")
    return np.array([np.nan if n == 0 else curve[n - 1] for n in done])


def band(curves: Floats) -> tuple[Floats, Floats]:
    """(repeats, n) -> mean (n,) and half of its 95 % t-interval (n,); nan where one is missing."""
    from scipy.stats import t as student

    n = len(curves)
    half = student.ppf(0.975, n - 1) * curves.std(axis=0, ddof=1) / np.sqrt(n)
    return curves.mean(axis=0), half


def paired_p(differences: Sequence[float] | Floats) -> float:
    """Two-sided p of the mean of paired differences, by flipping their signs.

    Exact up to 14 pairs, else of 20,000 draws. No distribution is assumed.
    """
    from scipy.stats import permutation_test

    return float(
        # The sum orders the flips as the mean does, the number of pairs being the same.
        permutation_test(
            (np.asarray(differences, np.float64),),
            np.sum,
            permutation_type="samples",
            vectorized=True,
            n_resamples=_DRAWS,
            rng=np.random.default_rng(0),
        ).pvalue
    )


def holm(found: Sequence[float]) -> list[float]:
    """p-values of as many comparisons, each as if all had been asked at once (Holm, 1979)."""
    order = np.argsort(found)
    # The least p counts n times, the next n - 1 times, and so on; the running maximum keeps a
    # greater p from ending below a smaller one.
    factors = len(found) - np.arange(len(found))
    corrected = np.empty(len(found))
    corrected[order] = np.maximum.accumulate(factors * np.asarray(found)[order])
    return [float(min(p, 1.0)) for p in corrected]


def least_repeats(comparisons: int) -> int:
    """With fewer pairs the p of `comparisons` paired tests, corrected, never falls below 0.05."""
    return math.ceil(math.log2(2 * comparisons / SIGNIFICANT))


def winner(run: Run) -> Architecture | None:
    """What the search would name: of its highest reading, the first."""
    scores = [-math.inf if one.score is None else one.score for one in run.readings]
    best = int(np.argmax(scores))
    return run.tried[best] if math.isfinite(scores[best]) else None


def summary(runs: list[Run], trials: int, truth: Truth | None = None) -> dict[str, Any]:
    """JSON-able: for every strategy its curves, its end, and how it stands against the baseline.

    With `truth`, the winners also by their mean over a table's seeds: a highest reading is too
    good by the noise in it, and the more so the more was tried.
    """
    by_name: dict[str, list[Run]] = {}
    for run in runs:
        by_name.setdefault(run.strategy, []).append(run)
    for own in by_name.values():
        own.sort(key=lambda run: run.seed)  # the r-th of each strategy are a pair
    base = np.array([best_so_far(run, trials) for run in by_name[BASELINE]]).mean(axis=0)
    longest = max(sum(one.seconds for one in run.readings) for run in runs)
    grid = np.linspace(0, longest, _POINTS)
    strategies = {name: _one(own, trials, grid, float(base[-1])) for name, own in by_name.items()}
    ends = {name: [best_so_far(r, trials)[-1] for r in own] for name, own in by_name.items()}
    for name, standing in _standings(ends).items():
        strategies[name] |= standing
    result = {
        "trials": trials,
        "repeats": len(by_name[BASELINE]),
        "seconds": _plain(grid),
        "strategies": strategies,
    }
    if truth is not None:
        means = {name: [truth.mean_of(winner(r)) for r in own] for name, own in by_name.items()}
        for name, standing in _standings(means).items():
            regret, half = band(truth.best - np.array(means[name])[:, None])
            regrets = _plain(np.concatenate([regret, half]))
            strategies[name]["by_mean"] = {"regret_and_half_interval_95": regrets, **standing}
        result["table"] = {"seeds": truth.seeds, "best_mean": round(truth.best, 6)}
    return result


def _one(runs: list[Run], trials: int, grid: Floats, base: float) -> dict[str, Any]:
    """A strategy's curves and its end; `base`: the baseline's mean at the end, to be reached."""
    curves = np.array([best_so_far(run, trials) for run in runs])
    mean, half = band(curves)
    in_time, in_time_half = band(np.array([at_seconds(run, grid) for run in runs]))
    reached = np.flatnonzero(mean >= base)
    return {
        "mean": _plain(mean),
        "half_interval_95": _plain(half),
        "mean_in_time": _plain(in_time),
        "half_interval_95_in_time": _plain(in_time_half),
        "ends": _plain(curves[:, -1]),
        "failed": sum(one.score is None for run in runs for one in run.readings),
        "trainings_to_reach_random": int(reached[0]) + 1 if len(reached) else None,
    }


def _standings(ends: Mapping[str, Sequence[float]]) -> dict[str, dict[str, Any]]:
    """How each ends beside the baseline and beside whoever is best by the mean, pair by pair."""
    values = {name: np.asarray(own, np.float64) for name, own in ends.items()}
    leader = max(values, key=lambda name: float(np.nan_to_num(values[name].mean(), nan=-np.inf)))
    standings: dict[str, dict[str, Any]] = {name: {} for name in ends}
    for rival, gap, p in ((BASELINE, "above_random", "p"), (leader, "above_best", "p_of_best")):
        others = [name for name in values if name != rival]
        pairs = {name: values[name] - values[rival] for name in others}
        # Where a search ended without a score there is no test, and nothing is told apart.
        found = {name: paired_p(d) if np.isfinite(d).all() else 1.0 for name, d in pairs.items()}
        corrected = dict(zip(others, holm(list(found.values())), strict=True))
        for name, standing in standings.items():
            known = name in pairs
            ends_of = _plain(np.concatenate(band(pairs[name][:, None]))) if known else [None, None]
            standing[gap], standing[f"{gap}_half_interval_95"] = ends_of
            standing[p], standing[f"{p}_corrected"] = found.get(name), corrected.get(name)
    return standings


def _plain(values: Floats) -> list[float | None]:
    return [None if math.isnan(value) else round(float(value), 6) for value in values]
