"""What `convnas space` tells of a space and the part of it inside the budget."""

from __future__ import annotations

from typing import Any

from ...search_space import Architecture, FeasibleSet, SearchSpace
from ...search_space import cost as cost_of
from ...search_space.feasible.statistics import effects, histogram


def summarised(space: SearchSpace, feasible: FeasibleSet[Architecture]) -> dict[str, Any]:
    """JSON-able. `feasible` is None where the set is too large to be counted within several limits;
    `feasible_bounds` certainly holds the number. `acceptance`: the share of draws that sampling
    keeps. `effects`: flops above the space's mean, by parameter and label."""
    low, high = feasible.count_bounds
    spread = histogram(space.within(None))
    ends = {"min": feasible.cheapest(), "max": feasible.dearest()}
    return {
        "size": space.size,
        "spellings": space.spellings,
        "feasible": low if low == high else None,
        "feasible_bounds": [low, high],
        "share": feasible.share,
        "acceptance": feasible.acceptance,
        "flops": {end: cost_of(point).flops for end, point in ends.items()},
        "architectures": {end: str(point) for end, point in ends.items()},
        "budget": {name: list(limit) for name, limit in feasible.limits.items()},
        "histogram": {
            "edges": list(spread.edges),
            "shares": list(spread.shares),
            "exact": spread.exact,
        },
        "effects": effects(space.chain),
        "notes": list(space.notes),
        "merged": list(space.merged),
    }
