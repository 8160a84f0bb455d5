"""What a trial reports to NNI: its score as `default`, and beside it what is shown as columns."""

from __future__ import annotations

from optuna.trial import FrozenTrial, TrialState

_SHOWN = ("loss", "seconds")


def final_value(trial: FrozenTrial) -> dict[str, float]:
    """The final result of a trial that has its score: flops, params and latency become columns."""
    attrs = trial.user_attrs
    value = {"default": float(attrs["score"])}
    for name in ("flops", "params"):
        if name in attrs:
            value[name] = attrs[name]
    for name, number in attrs.items():
        metric = name.removeprefix("metric.")
        if name != metric and (metric in _SHOWN or metric.startswith("latency")):
            value[metric] = number
    if trial.state == TrialState.PRUNED or attrs.get("pruned"):
        value["pruned"] = 1
    return value
