"""Settings that check themselves, without a validation library.

A kind of settings is a frozen dataclass whose fields are made by `integer`, `real`, `one_of`,
`flag`, `flag_or`, `text`, `execution_table` and `setting`; its constructor refuses what does not
fit with an InputError naming the field.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

from ..search_space import ExecutionTable, InputError
from ..search_space.errors import unknown_key


@dataclass(frozen=True)
class Settings:
    """The base of every kind: all fields are checked when one is made, defaults too."""

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            allowed = each.metadata["problem"](value)
            if allowed:
                raise InputError(each.name, value, allowed)


S = TypeVar("S", bound=Settings)


def read_settings(kind: type[S], mapping: Mapping[str, Any], key: str) -> S:
    """The settings in `mapping`, whose place in the config is `key`; its "name" is passed over."""
    known = [each.name for each in fields(kind)]
    values = {name: value for name, value in mapping.items() if name != "name"}
    for name in values:
        if name not in known:
            raise unknown_key(key, name, ["name", *known])
    try:
        return kind(**values)
    except InputError as error:
        raise error.under(key) from None


# The makers of fields return Any, as dataclasses.field does in effect, so that they can stand as
# the default of a typed field. A `problem` is what is allowed, if the value is not.


def integer(default: int | None, *, at_least: int) -> Any:
    """A whole number; null is allowed where it is the default, as with `real`."""
    wanted = f"a whole number, {at_least} or more" + (", or null" if default is None else "")

    def problem(value: object) -> str | None:
        if value is None and default is None:
            return None
        good = isinstance(value, int) and not isinstance(value, bool) and value >= at_least
        return None if good else wanted

    return setting(default, problem)


def real(
    default: float | None,
    *,
    above: float = -math.inf,
    low: float = -math.inf,
    below: float = math.inf,
    high: float = math.inf,
) -> Any:
    """A finite number with above < value, low <= value, value < below and value <= high."""
    bounds = [f"above {above:g}"] * (above > -math.inf) + [f"{low:g} or more"] * (low > -math.inf)
    bounds += [f"below {below:g}"] * (below < math.inf) + [f"{high:g} or less"] * (high < math.inf)
    wanted = " ".join(["a number", " and ".join(bounds)]) + (", or null" if default is None else "")

    def problem(value: object) -> str | None:
        if value is None and default is None:
            return None
        if isinstance(value, str) and _is_number(value):
            return f"{wanted} (YAML reads 1e-3 as text: write 1.0e-3)"
        if isinstance(value, bool) or not isinstance(value, int | float):
            return wanted
        # An integer may be beyond every float.
        good = abs(value) < math.inf and above < value < below and low <= value <= high
        return None if good else wanted

    return setting(default, problem)


def one_of(*names: str) -> Any:
    """One of these; the first is the default."""
    return setting(names[0], lambda v: None if v in names else f"choose from: {', '.join(names)}")


def flag(default: bool) -> Any:
    return setting(default, lambda v: None if isinstance(v, bool) else "true or false")


def flag_or(default: bool | str, word: str) -> Any:
    """True, false, or one word that says something third."""
    return setting(
        default,
        lambda v: None if isinstance(v, bool) or v == word else f"true or false, or {word}",
    )


def text(default: str, meaning: str) -> Any:
    """Text that is not empty. With the default "" it has to be given: that fails the check."""
    return setting(default, lambda v: None if isinstance(v, str) and v else meaning)


def execution_table() -> Any:
    """What `convnas tune` writes under `execution:`, or null: HetConv's executions by the rule."""

    def problem(value: object) -> str | None:
        try:
            _ = None if value is None else ExecutionTable.from_dict(value)
        except InputError as error:
            return f"a table as convnas tune writes it, or null ({error})"
        return None

    return setting(None, problem)


def optional_text(meaning: str) -> Any:
    """Text, or null, which is the default."""
    allowed = f"{meaning}, or null"
    return setting(None, lambda v: None if v is None or (isinstance(v, str) and v) else allowed)


def setting(default: object, problem: Callable[[object], str | None]) -> Any:
    """With a check of its own: `problem` says what is allowed, if the value is not."""
    return field(default=default, metadata={"problem": problem})


def _is_number(value: str) -> bool:
    try:
        float(value)
    except ValueError:
        return False
    return True
