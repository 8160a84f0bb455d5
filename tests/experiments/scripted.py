"""An evaluator of a user's own, that notes each evaluation and can be told to go wrong in one.

Settings: `record`, a file that gets a line "PID KEY" at each start; `seconds` an evaluation takes;
`faults`, a fault's name -> the evaluation it happens in, counted from 1 over the whole record;
`wait_from`, the first evaluation that waits, after its first report, for the file RECORD.go.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from convnas.evaluators import Evaluation, EvaluationError, Report, keep_going
from convnas.search_space import Architecture


def _refuse() -> float:
    raise EvaluationError("no score today")


def _fall() -> float:
    raise KeyError("a mistake in the evaluator")


def _kill() -> float:
    os.kill(os.getpid(), signal.SIGKILL)
    return 0.0


def _hang() -> float:
    time.sleep(3600)
    return 0.0


_FAULTS: dict[str, Callable[[], float]] = {
    "nan": lambda: float("nan"),
    "refuse": _refuse,
    "fall": _fall,
    "kill": _kill,
    "exit": lambda: os._exit(3),
    "hang": _hang,
}


class Scripted:
    def __init__(self, settings: Mapping[str, Any], data: Mapping[str, Any], **where: Any) -> None:
        self._record = Path(settings["record"])
        self._seconds = float(settings.get("seconds", 0.0))
        self._wait_from = int(settings.get("wait_from", 10**9))
        self._faults = {
            number: _FAULTS[name] for name, number in settings.get("faults", {}).items()
        }

    def evaluate(self, arch: Architecture, *, seed: int, report: Report = keep_going) -> Evaluation:
        with self._record.open("a") as file:
            file.write(f"{os.getpid()} {arch.key}\n")
        number = len(self._record.read_text().splitlines())
        if number in self._faults:
            score = self._faults[number]()
            return Evaluation(score, {"accuracy": score})
        time.sleep(self._seconds)
        score = int(arch.key, 16) / 16**16
        stopped = report(1, {"accuracy": score / 2})
        if stopped:
            return Evaluation(score / 2, {"accuracy": score / 2}, (score / 2,), pruned=True)
        while number >= self._wait_from and not Path(f"{self._record}.go").exists():
            time.sleep(0.05)
        report(2, {"accuracy": score})
        return Evaluation(score, {"accuracy": score}, (score / 2, score))
