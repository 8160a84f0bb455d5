"""How soon a trial trains under NNI: ours, in a warm worker, and a plain one, a process of its own.

From the moment NNI starts the trial's process, by its own record, to the moment the network is
built and the data is there. Both kinds in turn, one trial at a time, in the same run on the same
machine, the same guarded NNI. Run: python -m convnas.benchmarks.nni_trials
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import yaml

from convnas.benchmarks.record import keep
from convnas.benchmarks.timing import conditions
from convnas.experiments import read_config
from convnas.experiments.config.schema import demo_config
from convnas.experiments.nni_backend.driver.experiment_profile import profile
from convnas.experiments.nni_backend.driver.manager import Manager
from convnas.experiments.nni_backend.guard import guarded_shell
from convnas.experiments.ports import free_port
from convnas.experiments.run.study import read_trials


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=10, help="of each kind in each round")
    parser.add_argument("--rounds", type=int, default=2)
    given = parser.parse_args()
    began = conditions("cpu")
    ours: list[float] = []
    plain: list[float] = []
    for _ in range(given.rounds):
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            ours += _ours(Path(folder), given.trials)
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            plain += _plain(Path(folder), given.trials)
        print(f"ours {ours}\nplain {plain}", flush=True)
    result = {
        "conditions": {**began, "load_average_at_end": round(os.getloadavg()[0], 1)},
        "seconds_from_nni_starting_a_trial_until_it_can_train": {
            "convnas": _summary(ours),
            "plain NNI trial": _summary(plain),
        },
        "ratio_of_medians": round(statistics.median(plain) / statistics.median(ours), 1),
    }
    keep("nni.json", result)
    print(json.dumps(result, indent=1))


def _ours(folder: Path, trials: int) -> list[float]:
    (folder / "ready").mkdir()
    config = read_config(demo_config()).model_dump(mode="json")
    config |= {
        "evaluator": {
            "name": "python:convnas.benchmarks.nni_start:Starting",
            "folder": str(folder / "ready"),
        },
        "backend": {"name": "nni", "port": free_port()},
        "strategy": {"name": "random"},
        "final": {"top": 0},
        "trials": trials,
        "workers": 1,
        "device": "cpu",
    }
    (folder / "mine.yaml").write_text(yaml.safe_dump(config))
    code = "from convnas.experiments.cli import entry_point; entry_point()"
    command = [sys.executable, "-c", code, "launch", "mine.yaml", "-o", "run"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    (database,) = (folder / "run" / "nni").glob("*/db/nni.sqlite")
    found = []
    with closing(sqlite3.connect(database)) as link:
        started = dict(
            link.execute(
                "select max(sequenceId), min(case when event = 'RUNNING' then timestamp end)"
                " from TrialJobEvent group by trialJobId"
            ).fetchall()
        )
    for trial in read_trials(folder / "run" / "study.db"):
        ready = float((folder / "ready" / trial.user_attrs["key"]).read_text())
        found.append(ready - started[trial.number] / 1000)
    return found


def _plain(folder: Path, trials: int) -> list[float]:
    (folder / "ready").mkdir()
    (folder / "nni").mkdir()
    script = Path(__file__).with_name("plain_nni_trial.py")
    facts = profile(
        "plain",
        {"width": {"_type": "choice", "_value": list(range(16, 64))}},
        command=shlex.join([sys.executable, str(script), str(folder / "ready")]),
        folder=folder / "nni",
        concurrency=1,
        trials=trials,
        tuner={},
    )
    facts["tuner"] = {"name": "Random"}
    port = free_port()
    # NNI's own trials know their password from a file.
    shell, _ = guarded_shell({"XDG_RUNTIME_DIR": str(folder.absolute())})
    with Manager(port, folder / "nni", log=folder / "log.txt", environment=shell) as manager:
        manager.start("create", "plain", facts, lambda: False)
        jobs = _done(manager)
    return [
        float((folder / "ready" / job["trialJobId"]).read_text()) - job["startTime"] / 1000
        for job in jobs
    ]


def _done(manager: Manager) -> list[dict[str, Any]]:
    while True:
        with closing(manager.rest()) as rest:
            status = rest.api("GET", "check-status")["status"]
            if status == "DONE":
                jobs: list[dict[str, Any]] = rest.api("GET", "trial-jobs")
                return jobs
        assert status in ("INITIALIZED", "RUNNING", "NO_MORE_TRIAL"), status
        time.sleep(0.5)


def _summary(seconds: Sequence[float]) -> dict[str, float]:
    ordered = sorted(seconds)
    return {
        "trials": len(ordered),
        "median": round(statistics.median(ordered), 3),
        "least": round(ordered[0], 3),
        "most": round(ordered[-1], 3),
    }


if __name__ == "__main__":
    main()
