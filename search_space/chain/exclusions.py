"""`space: {not: [...]}`: rules that take choices out of a space, like {stage: 3, conv: octave}."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import InputError, unknown_key
from .stage_options import StageOptions


def exclusions(rules: Any, stages: int) -> list[Mapping[str, Any]]:
    """The rules of a config, checked for a backbone of `stages` stages. Raises InputError."""
    if not isinstance(rules, list | tuple):
        raise InputError("not", rules, "it must be a list like [{stage: 3, conv: octave}]")
    known = ("stage", "block", *StageOptions.names())
    for i, rule in enumerate(rules, 1):
        if not isinstance(rule, Mapping) or not rule:
            raise InputError(
                f"not[{i}]", rule, "it must be a mapping like {stage: 3, conv: octave}"
            )
        for name in rule:
            if name not in known:
                raise unknown_key(f"not[{i}]", name, known)
        if "stage" in rule and rule["stage"] not in range(1, stages + 1):
            raise InputError(f"not[{i}].stage", rule["stage"], f"there are stages 1 to {stages}")
    return list(rules)


def matches(rule: Mapping[str, Any], facts: Mapping[str, Any]) -> bool:
    """Whether a rule excludes what `facts` say: every key has its value, or one of a list's.

    A key that `facts` lack matches only null.
    """
    return all(
        facts.get(name) in (value if isinstance(value, list | tuple) else [value])
        for name, value in rule.items()
    )
