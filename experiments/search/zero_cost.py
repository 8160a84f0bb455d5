"""A zero-cost measure that guides the search: `zero_cost: {measure: snip, use: filter}`.

Before the first trial some architectures inside the budget are measured, one mini-batch each, and
the measure is fitted as a sum over the stages: one more exact cost. As a filter it confines the
search to the part of the feasible set with the highest sums; as a feature it is one more thing that
the predictor knows of every architecture. How well it ranks what the search trained is always said:
in some spaces it does not.

The fit (`zero_cost_fit.py` makes it) is kept in the run's config, so that a run that goes on has
the same feasible set.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from optuna.trial import FrozenTrial

from ...search_space.chain.score import SCORE
from ...search_space.errors import InputError
from ..config.sections import ZeroCostUse

if TYPE_CHECKING:
    from ...search_space import SearchSpace

_LEAST_KNOWN = 8
"""Complete trials needed before the rank correlation is said."""


def guided(setting: ZeroCostUse | None, space: SearchSpace) -> SearchSpace:
    """The space with the measure among its costs, once it has been measured."""
    if setting is None or setting.measured is None:
        return space
    try:
        effects = [[int(value) for value in row] for row in setting.measured["effects"]]
    except (KeyError, TypeError, ValueError):
        allowed = "it is what a launch writes: take it out, and it is measured again"
        raise InputError("zero_cost.measured", setting.measured, allowed) from None
    return space.scored(SCORE, effects)


def least_of(setting: ZeroCostUse | None) -> dict[str, int]:
    """What a filter asks of the measure's sum; empty where nothing is filtered."""
    if setting is None or setting.measured is None or setting.use != "filter":
        return {}
    return {SCORE: int(setting.measured["least"])}


def check(setting: ZeroCostUse | None, strategy: str) -> None:
    """Raises InputError for a feature that nothing would learn from."""
    if setting and setting.use == "feature" and strategy != "predictor":
        allowed = f"only the strategy predictor learns from it; {strategy} takes filter"
        raise InputError("zero_cost.use", "feature", allowed)


def said_of_fit(setting: ZeroCostUse, measured: dict[str, Any]) -> str:
    """One line about the measurement."""
    explained = 100 * max(measured["explained"], 0.0)
    said = (
        f"zero-cost {setting.measure}: {measured['architectures']} architectures measured in "
        f"{measured['seconds']:.0f} s; a sum over the stages explains {explained:.0f} % of it"
    )
    kept = f"; the {setting.best} {100 * setting.keep:.3g} % of the feasible set are searched"
    return said + (kept if setting.use == "filter" else "")


def facts_of(setting: ZeroCostUse | None, trials: list[FrozenTrial]) -> dict[str, Any] | None:
    """JSON-able: the measure, its fit, and Kendall's tau of the measure's sum with the score over
    the complete trials (95 % interval), None while they are few; None where no measure guides."""
    if setting is None or setting.measured is None:
        return None
    from ..analysis.agreement import agreement

    pairs = [
        (trial.user_attrs[SCORE], trial.values[0])
        for trial in trials
        if trial.values and SCORE in trial.user_attrs
    ]
    found: dict[str, Any] = {
        "measure": setting.measure if setting.best == "highest" else f"low {setting.measure}",
        "use": setting.use,
        "said": said_of_fit(setting, setting.measured),
        "trials": len(pairs),
        "tau": None,
    }
    if len(pairs) >= _LEAST_KNOWN:
        tau = agreement(*zip(*pairs, strict=True))
        if math.isfinite(tau.tau):
            found |= {"tau": round(tau.tau, 4), "interval": [round(tau.low, 4), round(tau.high, 4)]}
    return found


def said_of(facts: dict[str, Any] | None) -> list[str]:
    """Lines for people."""
    if facts is None:
        return []
    if facts["tau"] is None:
        return [facts["said"], f"its rank correlation is not known yet ({facts['trials']} trials)"]
    low, high = facts["interval"]
    said = (
        f"{facts['measure']} ranks the {facts['trials']} trained with Kendall's tau "
        f"{facts['tau']:.2f} (95 %: {low:.2f} to {high:.2f})"
    )
    if high < 0:
        said += ": the wrong way round here (zero_cost.best says which way is good)"
    elif low <= 0:
        said += ": no better than chance, for all this run can tell"
    return [facts["said"], said]
