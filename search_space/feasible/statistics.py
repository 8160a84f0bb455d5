"""What a space looks like: how its cost is spread, and how each choice moves it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..chain.chain import Chain, Label
from .feasible_set import FeasibleSet

_DRAWS = 100_000
_MOST_LISTED = 1 << 22


@dataclass(frozen=True)
class Histogram:
    """shares[i]: of the architectures that cost from edges[i] up to edges[i + 1] (the last bin
    includes its end). exact: whether all were counted; else they are from 100,000 uniform draws."""

    edges: tuple[float, ...]
    shares: tuple[float, ...]
    exact: bool


def histogram(whole: FeasibleSet[Any], bins: int = 20) -> Histogram:
    """How the first cost is spread over a set, in bins of equal width."""
    exact = whole.size <= _MOST_LISTED
    if exact:
        rows = np.array(list(whole.indices_in_order()))
    else:
        rows = whole.sample_indices(np.random.default_rng(0), _DRAWS)
    costs = whole.costs(rows)[:, 0]
    counts, edges = np.histogram(costs, bins=bins)
    return Histogram(tuple(edges.tolist()), tuple((counts / len(costs)).tolist()), exact)


def effects(chain: Chain, row: int = 0) -> dict[str, dict[Label, float]]:
    """Factor -> label -> how much dearer (in the cost `row`) the points with that label are than
    all points, on average over the whole space. Exact but for the last rounding.

    One pass from the left and one from the right add up, for every state, the number of ways and
    their costs; an option's mean joins the two.
    """
    # Python ints: ways times costs go beyond int64.
    left = [(1, 0)]
    lefts = [left]
    for i, position in enumerate(chain.positions):
        sums = [[0, 0] for _ in range(chain.n_states(i + 1))]
        for before, option in np.argwhere(position.allowed).tolist():
            ways, paid = left[before]
            into = sums[position.state[before, option]]
            into[0] += ways
            into[1] += paid + ways * int(position.cost[row, before, option])
        left = [(ways, paid) for ways, paid in sums]
        lefts.append(left)
    total = sum(ways for ways, _ in left)
    final = chain.final[row].tolist()
    mean = sum(paid + ways * end for (ways, paid), end in zip(left, final, strict=True)) / total

    right = [(1, int(end)) for end in final]
    found: dict[str, dict[Label, float]] = {}
    for i in reversed(range(len(chain))):
        position = chain.positions[i]
        here = [[0, 0] for _ in range(chain.n_states(i))]
        of_option = [[0, 0] for _ in range(position.n_options)]
        for before, option in np.argwhere(position.allowed).tolist():
            ways, paid = lefts[i][before]
            after_ways, after_paid = right[position.state[before, option]]
            after_paid += after_ways * int(position.cost[row, before, option])
            here[before][0] += after_ways
            here[before][1] += after_paid
            of_option[option][0] += ways * after_ways
            of_option[option][1] += paid * after_ways + ways * after_paid
        right = [(ways, paid) for ways, paid in here]
        found = {**_by_label(position.factors, position.labels, of_option, mean), **found}
    return found


def _by_label(
    factors: Mapping[str, tuple[Label, ...]],
    labels: tuple[dict[str, Label], ...],
    of_option: list[list[int]],
    mean: float,
) -> dict[str, dict[Label, float]]:
    found: dict[str, dict[Label, float]] = {}
    for name, values in factors.items():
        found[name] = {}
        for value in values:
            mine = [sums for own, sums in zip(labels, of_option, strict=True) if own[name] == value]
            ways = sum(ways for ways, _ in mine)
            if ways:
                found[name][value] = sum(paid for _, paid in mine) / ways - mean
    return found
