"""How well two orders agree: Kendall's tau with an interval from resampling, by scipy."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Agreement:
    """`tau` with the ends of its 95 % interval."""

    tau: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.tau:.2f} [{self.low:.2f}, {self.high:.2f}]"


def kendall_tau(x: Floats, y: Floats) -> float:
    """Tau-b, which allows for ties; NaN where one side is all ties (Kendall, 1945).

    x, y: (n,). Written out, since scipy's takes ten times as long at the few dozen pairs that a
    bootstrap asks for a thousand times: it finds a p-value too.
    """
    # Both (n, n). Every pair is in them twice, above and below the line, which cancels out.
    signs_x, signs_y = np.sign(x[:, None] - x), np.sign(y[:, None] - y)
    untied = float(np.abs(signs_x).sum()) * float(np.abs(signs_y).sum())
    return float((signs_x * signs_y).sum()) / untied**0.5 if untied else float("nan")


def agreement(
    x: Sequence[float] | Floats,
    y: Sequence[float] | Floats,
    *,
    measure: Callable[[Any, Any], float] = kendall_tau,
    seed: int = 0,
    draws: int = 1000,
) -> Agreement:
    """Tau, and the percentile interval over `draws` resamples of the pairs (Efron's bootstrap).

    x, y: (n, ...), a pair a row. A resample repeats pairs, which are then ties of one another and
    count on neither side; a resample that is all ties says nothing and is left out.
    """
    from scipy.stats import DegenerateDataWarning, bootstrap

    a, b = np.asarray(x, np.float64), np.asarray(y, np.float64)

    def of(rows: NDArray[np.int64]) -> float:
        return measure(a[rows], b[rows])

    # Rows are what is drawn: `bootstrap` itself would resample each seed of a row on its own.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DegenerateDataWarning)
        found = bootstrap(
            (np.arange(len(a)),),
            of,
            n_resamples=draws,
            vectorized=False,
            method="percentile",
            rng=np.random.default_rng(seed),
        ).bootstrap_distribution
    known = found[np.isfinite(found)]
    if not len(known):
        return Agreement(measure(a, b), float("nan"), float("nan"))
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(known, [tail, 1 - tail])
    return Agreement(measure(a, b), float(low), float(high))
