"""A finished trial in plain words and numbers, for tools that know nothing of Optuna."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime

from optuna.trial import FrozenTrial, TrialState

from ...search_space import Architecture, Choice
from ..run import study as records

WORDS = {TrialState.COMPLETE: "complete", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed"}


@dataclass(frozen=True)
class Record:
    """`choices`: the hyper-parameters, as "stage1.conv": "octave", "stage1.alpha": 0.5, block by
    block "stage1.2.conv". `metrics`: finite numbers; flops and params are of one input, latency_ms
    in milliseconds. `curve`: the score after every epoch that ran.
    """

    number: int
    state: str
    key: str
    architecture: str
    choices: dict[str, str | float]
    metrics: dict[str, float]
    curve: tuple[float, ...]
    reason: str
    start: datetime | None
    end: datetime | None

    @property
    def score(self) -> float | None:
        """Of a complete trial; None for the others."""
        return self.metrics.get("score") if self.state == "complete" else None


def record_of(trial: FrozenTrial) -> Record | None:
    """None for a trial that is not over, or that was refused before it had an architecture."""
    attrs = trial.user_attrs
    if trial.state not in WORDS or "architecture" not in attrs:
        return None
    architecture = Architecture.from_dict(attrs["architecture"])
    metrics = records.metrics_of(trial)
    # The trial's own attributes win over metrics of the same name.
    for name in ("score", "flops", "params", "latency_ms"):
        if attrs.get(name) is not None:
            metrics[name] = attrs[name]
    return Record(
        number=trial.number,
        state=WORDS[trial.state],
        key=architecture.key,
        architecture=str(architecture),
        choices=choices_of(architecture),
        metrics={k: float(v) for k, v in metrics.items() if math.isfinite(v)},
        curve=tuple(attrs.get("curve", ())),
        reason=str(attrs.get("reason", "")),
        start=trial.datetime_start,
        end=trial.datetime_complete,
    )


def choices_of(architecture: Architecture) -> dict[str, str | float]:
    """As `Record.choices`; stages and blocks are counted from 1."""
    found: dict[str, str | float] = {}
    for i, stage in enumerate(architecture.stages, 1):
        blocks = {f"stage{i}": stage} if isinstance(stage, Choice) else {}
        if not isinstance(stage, Choice):
            blocks = {f"stage{i}.{j}": choice for j, choice in enumerate(stage, 1)}
        for place, choice in blocks.items():
            for name, value in choice.to_dict().items():
                found[f"{place}.{name}"] = value
    return found
