"""What a comparison of strategies says: anytime curves with bands, and a paired test."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .repeated_searches import BASELINE, Run

Floats = NDArray[np.float64]

_DRAWS = 20_000  # 2^14 and more: up to 14 pairs all flips are gone through
_POINTS = 60


def best_so_far(run: Run, trials: int) -> Floats:
    """(trials,) the best score after each training; nan before the first, flat once exhausted."""
    scores = [np.nan if one.score is None else one.score for one in run.readings]
    padded = np.array(scores + [np.nan] * (trials - len(scores)))
    return np.fmax.accumulate(padded)


def at_seconds(run: Run, grid: Floats) -> Floats:
    """The best score once that many seconds of training were spent."""
    curve = best_so_far(run, len(run.readings))
    ends = np.cumsum([one.seconds for one in run.readings])
    done = np.searchsorted(ends, grid, side="right")
    return np.array([np.nan if n == 0 else curve[n - 1] for n in done])


def band(curves: Floats) -> tuple[Floats, Floats]:
    """(repeats, n) -> mean (n,) and half of its 95 % t-interval (n,); nan where one is missing."""
    from scipy.stats import t as student

    n = len(curves)
    half = student.ppf(0.975, n - 1) * curves.std(axis=0, ddof=1) / np.sqrt(n)
    return curves.mean(axis=0), half


def paired_p(differences: Sequence[float]) -> float:
    """Two-sided p of the mean of paired differences, by flipping their signs.

    Exact up to 14 pairs, else of 20,000 draws. No distribution is assumed.
    """
    from scipy.stats import permutation_test

    return float(
        permutation_test(
            (np.asarray(differences, np.float64),),
            np.sum,
            permutation_type="samples",
            vectorized=True,
            n_resamples=_DRAWS,
            rng=np.random.default_rng(0),
        ).pvalue
    )


def summary(runs: list[Run], trials: int) -> dict[str, Any]:
    """JSON-able: for every strategy its curves, its end, and how it stands against the baseline."""
    by_name: dict[str, list[Run]] = {}
    for run in runs:
        by_name.setdefault(run.strategy, []).append(run)
    ends = {name: [float(best_so_far(r, trials)[-1]) for r in own] for name, own in by_name.items()}
    base = np.array([best_so_far(run, trials) for run in by_name[BASELINE]]).mean(axis=0)
    longest = max(sum(one.seconds for one in run.readings) for run in runs)
    grid = np.linspace(0, longest, _POINTS)
    return {
        "trials": trials,
        "repeats": len(by_name[BASELINE]),
        "seconds": _plain(grid),
        "strategies": {
            name: _one(own, trials, grid, ends[name], ends[BASELINE], float(base[-1]))
            for name, own in by_name.items()
        },
    }


def _one(
    runs: list[Run],
    trials: int,
    grid: Floats,
    ends: list[float],
    base_ends: list[float],
    base: float,
) -> dict[str, Any]:
    curves = np.array([best_so_far(run, trials) for run in runs])
    mean, half = band(curves)
    in_time, in_time_half = band(np.array([at_seconds(run, grid) for run in runs]))
    reached = np.flatnonzero(mean >= base)
    differences = [a - b for a, b in zip(ends, base_ends, strict=True)]
    is_base = runs[0].strategy == BASELINE
    return {
        "mean": _plain(mean),
        "half_interval_95": _plain(half),
        "mean_in_time": _plain(in_time),
        "half_interval_95_in_time": _plain(in_time_half),
        "ends": _plain(np.array(ends)),
        "failed": sum(one.score is None for run in runs for one in run.readings),
        "trainings_to_reach_random": int(reached[0]) + 1 if len(reached) else None,
        "above_random": None if is_base else float(np.mean(differences)),
        "p": None if is_base else paired_p(differences),
    }


def _plain(values: Floats) -> list[float | None]:
    return [None if math.isnan(value) else round(float(value), 6) for value in values]


def rows(result: dict[str, Any]) -> list[list[str]]:
    """The table, best first, its head first."""
    trials = result["trials"]
    marks = sorted({max(1, trials // 4), max(1, trials // 2), trials})
    head = [
        "strategy",
        *(f"best of {n}" for n in marks),
        "reaches random's end",
        "above random",
        "p",
    ]
    order = sorted(result["strategies"].items(), key=lambda item: -(item[1]["mean"][-1] or -1e300))
    table = [head]
    for name, one in order:
        cells = [_cell(one["mean"][n - 1], one["half_interval_95"][n - 1]) for n in marks]
        reached = one["trainings_to_reach_random"]
        above, p = one["above_random"], one["p"]
        table.append(
            [
                name,
                *cells,
                "-" if reached is None else f"after {reached}",
                "-" if above is None else f"{above:+.4f}",
                "-" if p is None else f"{p:.3g}",
            ]
        )
    return table


def _cell(mean: float | None, half: float | None) -> str:
    return "-" if mean is None or half is None else f"{mean:.4f} +- {half:.4f}"


def markdown(result: dict[str, Any], title: str) -> str:
    """The table for a file."""
    head, *body = rows(result)
    lines = ["| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *body)]
    said = (
        f"{result['repeats']} repeats of {result['trials']} trainings; means and their 95 % "
        "t-intervals of the best score so far; p of the paired difference from random at the end, "
        "two-sided, by flipping signs."
    )
    return "\n".join([f"# {title}", "", said, "", *lines, ""])


def picture(result: dict[str, Any], path: Path, title: str) -> bool:
    """Anytime curves against trainings and seconds; False where matplotlib is not installed."""
    try:
        import matplotlib
    except ImportError:
        return False
    matplotlib.use("agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(12, 4.5), sharey=True)
    trainings = np.arange(1, result["trials"] + 1)
    views = (
        (axes[0], trainings, "mean", "half_interval_95", "trainings"),
        (
            axes[1],
            result["seconds"],
            "mean_in_time",
            "half_interval_95_in_time",
            "seconds of training",
        ),
    )
    for axis, x, mean_key, half_key, label in views:
        for name, one in result["strategies"].items():
            mean = np.array(one[mean_key], dtype=np.float64)
            half = np.array(one[half_key], dtype=np.float64)
            axis.plot(x, mean, label=name)
            axis.fill_between(x, mean - half, mean + half, alpha=0.15)
        axis.set_xlabel(label)
    axes[0].set_ylabel("best score so far")
    axes[0].legend()
    figure.suptitle(title)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)
    return True
