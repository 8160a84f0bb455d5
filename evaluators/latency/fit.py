"""How pieces' times add up to a network's: their sum, corrected by what whole networks say.

A piece run alone pays for being started, and for its feature maps' layout on the way in and out;
within a network it does not, and finds a warmer cache. What that is worth depends on its layers. So
a piece's time becomes factor x time + the shift of its kind, with the numbers that come nearest to
whole networks: ridge regression, with shifts that are small unless the networks say otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

Whole = Sequence[tuple[Sequence[str], int]]
"""Networks: the keys of their pieces, and the nanoseconds of the whole, measured."""

_RIDGE = 0.05
"""The error of one network, of 1 % say, over the shift of a kind, of 20 % of a piece's time say."""


def corrected(
    times: Mapping[str, int], kinds: Mapping[str, str], networks: Whole
) -> dict[str, int]:
    """The pieces' times in nanoseconds, at least 1, whose sums are nearest to `networks`.

    kinds: a piece's key -> what its shift goes by.
    """
    unit = float(np.median(list(times.values())))
    names = sorted(set(kinds.values()))
    # Pieces that their shift would leave with no time at all: they get none, and are no part of
    # the sums. Each turn finds more of them or is the last.
    free: set[str] = set()
    while True:
        rows = []
        for own, measured in networks:
            paid = [key for key in own if key not in free]
            shifts = [unit * sum(kinds[key] == name for key in paid) for name in names]
            # Relative errors: a fast network's counts as much as a slow one's.
            rows.append(np.array([sum(times[key] for key in paid), *shifts]) / measured)
        small = np.eye(len(names) + 1)[1:] * _RIDGE
        wanted = np.concatenate([np.ones(len(rows)), np.zeros(len(names))])
        factor, *found = np.linalg.lstsq(np.vstack([*rows, small]), wanted)[0]
        shift = dict(zip(names, found, strict=True))
        estimates = {key: factor * time + unit * shift[kinds[key]] for key, time in times.items()}
        more = {key for key, time in estimates.items() if time < 1} - free
        if not more or len(free | more) == len(times):
            return {
                key: 1 if key in free else max(1, round(time)) for key, time in estimates.items()
            }
        free |= more


def relative_errors(times: Mapping[str, int], networks: Whole) -> list[float]:
    """|estimate - measured| / measured of each network."""
    estimates, measured = _sums(times, networks)
    return [float(error) for error in np.abs(estimates / measured - 1)]


def kendall_tau(times: Mapping[str, int], networks: Whole) -> float | None:
    """Tau-b of estimates and measured times, None where one side is all ties (Kendall, 1945)."""
    ups, downs = (np.sign(each[:, None] - each) for each in _sums(times, networks))
    pairs = float(np.abs(ups).sum() * np.abs(downs).sum())
    return float((ups * downs).sum() / pairs**0.5) if pairs else None


def _sums(
    times: Mapping[str, int], networks: Whole
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    estimates = [sum(times[key] for key in own) for own, _ in networks]
    measured = [time for _, time in networks]
    return np.array(estimates, dtype=float), np.array(measured, dtype=float)
