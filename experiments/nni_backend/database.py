"""A study as NNI's own database: for its pages afterwards, and for going on where it stopped.

The study is the truth and this a picture of it, drawn anew each time. The tables are NNI's
(`core/sqlDatabase.js`): events of a trial, metrics (JSON in JSON), and the experiment's profile.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from ...search_space import Architecture, FeasibleSet
from ..run.objectives import METRIC_NAMES
from .parameters import nni_parameters
from .values import final_value

_TABLES = """
create table TrialJobEvent (timestamp integer, trialJobId text, event text, data text, logPath text,
    sequenceId integer, message text, environmentId text);
create index TrialJobEvent_trialJobId on TrialJobEvent(trialJobId);
create index TrialJobEvent_event on TrialJobEvent(event);
create table MetricData (timestamp integer, trialJobId text, parameterId text, type text,
    sequence integer, data text);
create index MetricData_trialJobId on MetricData(trialJobId);
create index MetricData_type on MetricData(type);
create table ExperimentProfile (params text, id text, execDuration integer, startTime integer,
    endTime integer, logDir text, nextSequenceId integer, revision integer);
create index ExperimentProfile_id on ExperimentProfile(id);
"""

_STATES = {
    TrialState.COMPLETE: "SUCCEEDED",
    TrialState.PRUNED: "EARLY_STOPPED",
    TrialState.FAIL: "FAILED",
}


def write_database(
    folder: Path,
    study: optuna.Study,
    feasible: FeasibleSet[Architecture],
    profile: Mapping[str, Any],
    name: str,
) -> int:
    """Write the trials that are over, and return how many; nothing is written for none.

    `folder` is NNI's for this experiment. A trial's log there holds the reason of its failure.
    """
    over = [t for t in study.get_trials(deepcopy=False) if t.state in _STATES]
    if not over:
        return 0
    (folder / "db").mkdir(parents=True)
    with closing(sqlite3.connect(folder / "db" / "nni.sqlite")) as database, database:
        database.executescript(_TABLES)
        names = study._storage.get_study_system_attrs(study._study_id).get(METRIC_NAMES, ())
        for trial in over:
            logs = folder / "environments" / "local-env" / "trials" / _job(trial)
            _write_logs(trial, logs)
            events = _events(trial, feasible, str(logs))
            database.executemany("insert into TrialJobEvent values (?,?,?,?,?,?,?,?)", events)
            database.executemany(
                "insert into MetricData values (?,?,?,?,?,?)", _metrics(trial, names)
            )
        times = [time for trial in over for time in (_start(trial), _end(trial))]
        row = (
            json.dumps(profile),
            name,
            (max(times) - min(times)) // 1000,
            min(times),
            max(times),
            str(folder),
            max(trial.number for trial in over) + 1,
            1,
        )
        database.execute("insert into ExperimentProfile values (?,?,?,?,?,?,?,?)", row)
    return len(over)


def _events(
    trial: FrozenTrial, feasible: FeasibleSet[Architecture], logs: str
) -> Iterator[tuple[Any, ...]]:
    params = dict(trial.params)
    if "architecture" in trial.user_attrs:
        # Whole, with the parameters of one label, which a study need not hold.
        params = feasible.params(Architecture.from_dict(trial.user_attrs["architecture"]))
    spread = nni_parameters(params, feasible.distributions) if params else {}
    record = {
        "parameter_id": trial.number,
        "parameter_source": "algorithm",
        "parameters": spread,
        "parameter_index": 0,
    }
    reason = trial.user_attrs.get("reason")
    job, number = _job(trial), trial.number
    yield (_start(trial), job, "WAITING", json.dumps(record), logs, number, None, "local-env")
    yield (_start(trial), job, "RUNNING", None, logs, number, None, "local-env")
    yield (_end(trial), job, _STATES[trial.state], None, logs, number, reason, "local-env")


def _metrics(trial: FrozenTrial, objectives: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    job, number = _job(trial), str(trial.number)
    curve = sorted(trial.intermediate_values.items())
    if not curve:
        curve = list(enumerate(trial.user_attrs.get("curve", []), 1))
    # The study does not say when an epoch ended, and NNI wants a time: the trial's end.
    for sequence, (_, score) in enumerate(curve):
        yield (_end(trial), job, number, "PERIODICAL", sequence, json.dumps(json.dumps(score)))
    if "score" in trial.user_attrs:
        value = json.dumps(json.dumps(final_value(trial, objectives)))
        yield (_end(trial), job, number, "FINAL", 0, value)


def _write_logs(trial: FrozenTrial, folder: Path) -> None:
    folder.mkdir(parents=True)
    reason = trial.user_attrs.get("reason", "")
    for file, words in (("trial.stderr", reason), ("trial.log", reason), ("trial.stdout", "")):
        (folder / file).write_text(words and f"{words}\n")


def _job(trial: FrozenTrial) -> str:
    """NNI's own ids are random letters; the number is enough to know a trial by."""
    return f"trial{trial.number:05d}"


def _start(trial: FrozenTrial) -> int:
    return _milliseconds(trial.datetime_start)


def _end(trial: FrozenTrial) -> int:
    return _milliseconds(trial.datetime_complete)


def _milliseconds(time: Any) -> int:
    return 0 if time is None else int(time.timestamp() * 1000)
