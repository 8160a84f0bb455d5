"""How well two orders agree: Kendall's tau and Spearman's rho, with intervals from resampling."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def kendall_tau(x: Sequence[float] | Floats, y: Sequence[float] | Floats) -> float:
    """Tau-b, which allows for ties; NaN where one side is all ties (Kendall, 1945)."""
    a, b = np.asarray(x, np.float64), np.asarray(y, np.float64)
    signs_a = np.sign(a[:, None] - a[None, :])
    signs_b = np.sign(b[:, None] - b[None, :])
    untied = float(np.abs(signs_a).sum()) * float(np.abs(signs_b).sum())
    return float((signs_a * signs_b).sum()) / untied**0.5 if untied else float("nan")


def spearman_rho(x: Sequence[float] | Floats, y: Sequence[float] | Floats) -> float:
    """The correlation of ranks, ties sharing their mean rank; NaN where one side is all ties."""
    a, b = _ranks(np.asarray(x, np.float64)), _ranks(np.asarray(y, np.float64))
    a, b = a - a.mean(), b - b.mean()
    spread = float((a @ a) * (b @ b)) ** 0.5
    return float(a @ b) / spread if spread else float("nan")


def _ranks(values: Floats) -> Floats:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return np.asarray((ends - (counts - 1) / 2)[inverse], np.float64)


@dataclass(frozen=True)
class Agreement:
    """`tau` with the ends of its 95 % interval."""

    tau: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.tau:.2f} [{self.low:.2f}, {self.high:.2f}]"


def agreement(
    x: Sequence[float] | Floats,
    y: Sequence[float] | Floats,
    *,
    measure: Callable[[Floats, Floats], float] = kendall_tau,
    seed: int = 0,
    draws: int = 1000,
) -> Agreement:
    """Tau and the percentile interval over `draws` resamples of the pairs (Efron's bootstrap).

    A resample repeats pairs, which are then ties of one another and count on neither side.
    """
    a, b = np.asarray(x, np.float64), np.asarray(y, np.float64)
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(draws):
        chosen = rng.integers(len(a), size=len(a))
        found.append(measure(a[chosen], b[chosen]))
    values = np.array(found)
    values = values[np.isfinite(values)]
    if not len(values):
        return Agreement(measure(a, b), float("nan"), float("nan"))
    low, high = np.percentile(values, [2.5, 97.5])
    return Agreement(measure(a, b), float(low), float(high))
