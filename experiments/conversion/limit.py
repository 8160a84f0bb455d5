"""The budget of a conversion: a share of what the network costs, or a number."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from ...search_space.budget import parse_quantity
from ...search_space.errors import InputError, unknown_key
from ...search_space.layers.base import LayerCost

_SHARE = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*%\s*")
_ALLOWED = "a share of the network's own cost, like 60%, or a number, like 1.5G"


class CostLimit(NamedTuple):
    """`kind`: flops, params or activations. `most`: included."""

    kind: str
    most: int


def read_limit(budget: Any, cost: LayerCost) -> CostLimit:
    """From "60%" or "1.5G" (of multiply-adds), or a mapping like {params: 60%}. InputError."""
    kind, value = "flops", budget
    if isinstance(budget, Mapping):
        if len(budget) != 1:
            raise InputError("budget", dict(budget), "one limit, like {params: 60%}")
        ((kind, value),) = budget.items()
        if kind not in LayerCost._fields:
            raise unknown_key("budget", kind, LayerCost._fields)
    found = _SHARE.fullmatch(value) if isinstance(value, str) else None
    if found:
        most = int(float(found[1]) * getattr(cost, kind) / 100)
        if not 0 < float(found[1]) <= 100:
            raise InputError("budget", value, _ALLOWED)
        return CostLimit(kind, most)
    if isinstance(value, str) and "%" in value:
        raise InputError("budget", value, _ALLOWED)
    return CostLimit(kind, parse_quantity(value, "budget"))
