"""A budget: limits on what an architecture may cost, in units people write."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Any

from .errors import InputError, unknown_key

Limit = tuple[int | None, int | None]
"""The least and the greatest cost allowed, both included; None where there is no limit."""

KINDS = ("flops", "params", "activations", "latency")
_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_QUANTITY = re.compile(r"\s*(\d+(?:\.\d*)?|\.\d+)(?:[eE](\+?\d{1,2}))?\s*([A-Za-z]?)\s*", re.ASCII)
_TIME_UNITS = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9}
_TIME = re.compile(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*(ns|us|ms|s)\s*", re.ASCII)
_ALLOWED = "a positive number, with K, M, G or T (thousand to trillion) if you like: 400K, 1.5G"


def parse_quantity(value: Any, key: str = "quantity") -> int:
    """`"1.5M"` -> 1500000, `"40 M"`, `"1e6"` and plain numbers too; a fraction left over is cut.

    InputError, under `key`, for anything else.
    """
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    text = repr(value) if isinstance(value, float) else value
    found = _QUANTITY.fullmatch(text) if isinstance(text, str) else None
    if found is None or found[3].upper() not in _UNITS:
        raise InputError(key, value, f"it must be {_ALLOWED}")
    # Decimal, since a float product can fall just below a whole number and be cut.
    number = int(Decimal(found[1]).scaleb(int(found[2] or 0)) * _UNITS[found[3].upper()])
    if number < 1:
        raise InputError(key, value, f"it must be {_ALLOWED}")
    return number


def parse_time(value: Any, key: str = "time") -> int:
    """`"5ms"`, `"800us"`, `"0.2 s"` -> nanoseconds; a number without a unit is refused.

    InputError, under `key`, for anything else.
    """
    found = _TIME.fullmatch(value) if isinstance(value, str) else None
    time = int(Decimal(found[1]) * _TIME_UNITS[found[2]]) if found else 0
    if time < 1:
        raise InputError(key, value, "it must be a time with its unit, like 5ms, 800us or 0.2s")
    return time


def format_time(nanoseconds: int) -> str:
    """Three significant digits and a unit: 5_120_000 -> `"5.12ms"`."""
    rounded = Context(prec=3, rounding=ROUND_HALF_EVEN).create_decimal(nanoseconds)
    for unit, size in reversed(_TIME_UNITS.items()):
        if abs(rounded) >= size:
            return f"{(rounded / size).normalize():f}{unit}"
    return f"{rounded:f}ns"


def format_quantity(value: int) -> str:
    """Three significant digits and a unit: 1256960 -> `"1.26M"`, 999 -> `"999"`."""
    rounded = Context(prec=3, rounding=ROUND_HALF_EVEN).create_decimal(value)
    for unit, size in reversed(_UNITS.items()):
        if abs(rounded) >= size:
            return f"{(rounded / size).normalize():f}{unit}"
    return f"{rounded:f}"


class Budget:
    """Limits on flops (multiply-adds), params, activations (elements) and latency, several at once.

    A limit is a greatest value (`flops="1M"`), a pair (least, greatest) or a mapping with `min`
    and `max`; either end of the last two may be None. InputError where one cannot be read.
    """

    def __init__(
        self,
        flops: Any = None,
        params: Any = None,
        activations: Any = None,
        latency: Any = None,
    ) -> None:
        given = zip(KINDS, (flops, params, activations, latency), strict=True)
        limits = {kind: _limit(value, f"budget.{kind}") for kind, value in given}
        self.limits: dict[str, Limit] = {k: v for k, v in limits.items() if v != (None, None)}

    @classmethod
    def from_config(cls, config: Any) -> Budget:
        """The budget of a config's `budget:` entry; None or an empty mapping limits nothing."""
        if config is None:
            return cls()
        if not isinstance(config, Mapping):
            raise InputError("budget", config, "it must be a mapping such as {flops: 1M}")
        for name in config:
            if name not in KINDS:
                raise unknown_key("budget", name, KINDS)
        return cls(**config)

    def to_config(self) -> dict[str, Any]:
        """Plain data that `from_config` reads back to an equal budget."""
        config: dict[str, Any] = {}
        for kind, limit in self.limits.items():
            unit = "ns" if kind == "latency" else ""
            low, high = (f"{end}{unit}" if end is not None and unit else end for end in limit)
            config[kind] = high if low is None else {"min": low, "max": high}
        return config

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Budget) and self.to_config() == other.to_config()

    def __hash__(self) -> int:
        return hash(tuple(sorted(self.limits.items())))

    def __repr__(self) -> str:
        return f"Budget({', '.join(f'{kind}={value!r}' for kind, value in self.limits.items())})"


def _limit(value: Any, key: str) -> Limit:
    if isinstance(value, Mapping):
        for name in value:
            if name not in ("min", "max"):
                raise unknown_key(key, name, ("min", "max"))
        ends = (value.get("min"), value.get("max"))
    elif isinstance(value, (tuple, list)):
        if len(value) != 2:
            raise InputError(key, value, "a pair must be (least, greatest)")
        ends = (value[0], value[1])
    else:
        ends = (None, value)
    parse = parse_time if key == "budget.latency" else parse_quantity
    low, high = (None if end is None else parse(end, key) for end in ends)
    if low is not None and high is not None and low > high:
        raise InputError(key, value, "the least must not be above the greatest")
    return low, high
