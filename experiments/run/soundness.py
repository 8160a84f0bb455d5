"""A study read with care: one that Optuna made for somebody else, or that was damaged, is refused.

The trial that is damaged is named, so that whoever knows Optuna can take it out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from ...search_space import Architecture
from ...search_space.errors import InputError, shortened
from ...strategies.base import PROPOSAL_KEY
from .objectives import METRIC_NAMES

UNREADABLE = (
    *(ValueError, TypeError, LookupError, AttributeError, AssertionError),
    OverflowError,  # an infinite number of a category
)
"""What Optuna and SQLAlchemy raise for attributes, states, parameters and dates that are none."""


NEEDED = ("architecture", "key", "flops", "params")
"""What every complete trial of a search has."""

NEEDED_FINAL = ("architecture", "key", "trial", "seed")
"""What every trial of a final choice has."""


def sound_trials(study: optuna.Study, place: object, *, final: bool = False) -> list[FrozenTrial]:
    """The trials of a study at `place` that a launch has made: of a search, or its `final` choice.

    Raises InputError naming the first trial that is damaged, or where the study is not ours.
    """
    try:
        trials = study.get_trials(deepcopy=False)
        about = study._storage.get_study_system_attrs(study._study_id)
        # Only to see that they can be read.
        _ = study.user_attrs
    except UNREADABLE as e:
        raise _damaged(place, f"{_first_unreadable(study)} cannot be read: {_words(e)}") from e
    if (
        trials
        and not final
        and METRIC_NAMES not in about
        and not any("key" in t.user_attrs for t in trials)
    ):
        allowed = f"the study {study.study_name!r} in it is not one that convnas launch has made"
        raise InputError(str(place), "this file", allowed)
    for trial in trials:
        over = trial.state == TrialState.COMPLETE
        needed = NEEDED_FINAL if final else NEEDED if over else ()
        problem = _problem(trial, needed, len(study.directions))
        if problem:
            raise _damaged(place, f"trial {trial.number} is damaged: {problem}")
    return trials


def _damaged(place: object, words: str) -> InputError:
    return InputError(str(place), "this file", words)


def _words(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]


def _first_unreadable(study: optuna.Study) -> str:
    """Which trial it is; Optuna reads all of them at once, or one by its number."""
    storage, number = study._storage, 0
    while True:
        try:
            storage.get_trial(
                storage.get_trial_id_from_study_id_trial_number(study._study_id, number)
            )
        except KeyError:
            return "what it says of itself"
        except UNREADABLE:
            return f"trial {number}"
        number += 1


def _problem(trial: FrozenTrial, needed: Iterable[str], objectives: int) -> str | None:
    """What is wrong with a trial, in words; None where it is as a launch leaves it."""
    attrs = trial.user_attrs
    # SQLite keeps whatever was written into a column of text.
    names: list[object] = [*attrs, *trial.system_attrs, *trial.params]
    for each in names:
        if not isinstance(each, str):
            return f"a name in it is {shortened(each)}, not text"
    for name in needed:
        if name not in attrs:
            return f"it has no {name}"
    for name, value in attrs.items():
        kind = "metric" if name.startswith("metric.") else name
        if kind in _KINDS and not _KINDS[kind][0](value):
            return f"its {name} is {shortened(value)}, not {_KINDS[kind][1]}"
    proposal = trial.system_attrs.get(PROPOSAL_KEY)
    if not (proposal is None or _each(_whole)(proposal)):
        return f"its {PROPOSAL_KEY} is {shortened(proposal)}, not whole numbers"
    if not isinstance(trial.system_attrs.get("fixed_params", {}), Mapping):
        return "its fixed_params are no mapping"
    if "architecture" in attrs:
        try:
            Architecture.from_dict(attrs["architecture"])
        except InputError as e:
            return f"its architecture cannot be read: {e}"
    if trial.state == TrialState.COMPLETE and not _each(_finite)(trial.values):
        return f"its values are {shortened(trial.values)}, not finite numbers"
    # Its end was kept and not told yet: `tell_kept` will need the rest.
    if trial.state == TrialState.RUNNING and "score" in attrs:
        if "pruned" not in attrs or (not attrs["pruned"] and "values" not in attrs):
            return "it has a score, and not what must come with it"
        if not attrs["pruned"] and len(attrs["values"]) != objectives:
            return f"it has {len(attrs['values'])} values for {objectives} objectives"
    return None


def _whole(value: object) -> bool:
    """True and false are integers to Python, and no numbers to us."""
    return isinstance(value, int) and not isinstance(value, bool)


def _number(value: object) -> bool:
    """Infinity and not-a-number pass, unlike in `_finite`."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _finite(value: object) -> bool:
    return isinstance(value, int | float) and abs(value) < math.inf


def _text(value: object) -> bool:
    return isinstance(value, str)


def _each(check: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: isinstance(value, list | tuple) and all(map(check, value))


_KINDS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "key": (_text, "text"),
    "reason": (_text, "text"),
    "flops": (_whole, "a whole number"),
    "params": (_whole, "a whole number"),
    "latency_ms": (lambda value: value is None or _finite(value), "a number"),
    "score": (_finite, "a finite number"),
    "values": (_each(_finite), "finite numbers"),
    "curve": (_each(_number), "numbers"),
    "pruned": (lambda value: isinstance(value, bool), "true or false"),
    "metric": (_number, "a number"),
    "trial": (_whole, "a whole number"),
    "seed": (_whole, "a whole number"),
    "from_run": (_text, "text"),
    "from_trial": (_whole, "a whole number"),
}
"""What the attributes of trials must be that are read by their names."""
