"""The profile of an experiment, in the form NNI's manager takes it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

TUNER = "convnas.experiments.nni_backend.tuner.Tuner"


def experiment_id(name: str) -> str:
    """NNI allows letters, digits, '-' and '_', 32 of them."""
    return re.sub(r"[^A-Za-z0-9_-]", "-", name)[:32]


def profile(
    name: str,
    space: Mapping[str, Any],
    *,
    command: str,
    folder: Path,
    concurrency: int,
    trials: int,
    tuner: Mapping[str, Any],
    service: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """`trials` in all, `concurrency` at once; `tuner` are our tuner's arguments.

    `folder` holds what NNI writes, and is where trials start. `service` is where they run, in NNI's
    form, where that is not this machine.
    """
    where = str(folder.absolute())
    common = {"trialCommand": command, "trialCodeDirectory": where, "debug": False}
    local = {"platform": "local", "maxTrialNumberPerGpu": 1, "reuseMode": False}
    return {
        "experimentName": name,
        "experimentType": "hpo",
        "searchSpace": dict(space),
        **common,
        "trialConcurrency": concurrency,
        "maxTrialNumber": trials,
        "useAnnotation": False,
        "logLevel": "info",
        "experimentWorkingDirectory": where,
        "tuner": {"codeDirectory": where, "className": TUNER, "classArgs": dict(tuner)},
        "trainingService": dict(service or {**common, **local}),
    }
