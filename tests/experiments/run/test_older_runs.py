"""What 0.1.0 wrote, with keys that told spellings of one network apart, is still found."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from convnas import Architecture, cost
from convnas.evaluators.table import Table, TableRow
from convnas.experiments import launch, plan
from convnas.experiments.analysis.repeated_searches import Reading, Readings
from convnas.experiments.analysis.tabulate import Journal
from convnas.experiments.run import study as records
from convnas.experiments.run.directory import RunDirectory

HEAD = "resnet-cifar 1x8x8 10: "
OLD = "hetconv(p=1, depth=1) | vanilla(depth=1) | vanilla(kernel=3)"
NOW = "vanilla | vanilla | vanilla"
SPACE = {
    "backbone": "resnet-cifar",
    "input": [1, 8, 8],
    "classes": 10,
    "stage": {"conv": ["vanilla", "hetconv"], "p": [1, 2]},
}
LABELS = ("vanilla", "hetconv(p=1)", "hetconv(p=2)")


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def old_trial(labels: tuple[str, ...]) -> FrozenTrial:
    """A trial as 0.1.0 kept it."""
    params = {f"stage{i}": label for i, label in enumerate(labels, 1)}
    text = HEAD + " | ".join(labels)
    counted = cost(Architecture.parse(text))
    choices: dict[str, dict[str, Any]] = {"vanilla": {"conv": "vanilla"}}
    choices |= {f"hetconv(p={p})": {"conv": "hetconv", "p": p} for p in (1, 2)}
    stages = [choices[label] for label in labels]
    shape = {"backbone": "resnet-cifar", "input": [1, 8, 8], "classes": 10}
    attrs = {
        "key": digest(text),
        "architecture": {**shape, "stages": stages},
        "flops": counted.flops,
        "params": counted.params,
        "score": 0.5,
    }
    return create_trial(
        params=params,
        distributions=dict.fromkeys(params, CategoricalDistribution(LABELS)),
        value=0.5,
        user_attrs=attrs,
    )


def test_a_study_goes_on_and_trains_no_network_again(
    scripted: dict[str, Any], tmp_path: Path, trials_of: Callable[[Path], list[FrozenTrial]]
) -> None:
    config = {**scripted, "space": SPACE, "budget": {}}
    run = tmp_path / "run"
    launch(*plan(config, run, trials=1))
    (first,) = trials_of(run)
    storage = records.open_storage(RunDirectory(run).study_path)
    study = optuna.load_study(study_name="small", storage=storage)
    spellings = [
        labels
        for labels in itertools.product(LABELS, repeat=3)
        if Architecture.parse(HEAD + " | ".join(labels)).to_dict()
        != first.user_attrs["architecture"]
    ][:12]
    for labels in spellings:
        study.add_trial(old_trial(labels))
    storage.engine.dispose()
    known = {Architecture.parse(HEAD + " | ".join(labels)).key for labels in spellings}
    assert len(known) < len(spellings)

    # Eight networks, whatever is spelled: what is left is trained once, and then nothing is left.
    launch(*plan(None, run, trials=30))
    trials = trials_of(run)[1 + len(spellings) :]
    keys = [trial.user_attrs["key"] for trial in trials if trial.state == TrialState.COMPLETE]
    assert len(keys) == len(set(keys)) == 8 - 1 - len(known)
    assert not known & set(keys)
    trained = (tmp_path / "record.txt").read_text().split()[1::2]
    assert sorted(trained) == sorted([first.user_attrs["key"], *keys])


def test_weights_are_found_under_the_key_as_it_was_written(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    old, now = Architecture.parse(HEAD + OLD), Architecture.parse(HEAD + NOW)
    assert old == now
    (tmp_path / "weights").mkdir()
    before = tmp_path / "weights" / f"{digest(HEAD + OLD)}.pt"
    assert run.weights_path(old) == run.weights_path(now)
    before.touch()
    assert run.weights_path(old) == before
    run.weights_path(now).touch()
    assert run.weights_path(old).stem == digest(HEAD + NOW)


def test_rows_of_tables_and_lines_of_journals_are_found_by_the_network(tmp_path: Path) -> None:
    row = TableRow((), {"score": 0.5})
    header = {"convnas_table": 1, "space": SPACE, "data": {}, "evaluator": {}}
    arch = Architecture.parse(HEAD + NOW)
    Table(header, {OLD: [row]}).save(tmp_path / "old.table.gz")
    assert Table.load(str(tmp_path / "old.table.gz")).of(arch) == [row]

    entries = [
        {"stages": text, "seed": 0, "record": row.to_json()} for text in (OLD, f"epochs 5 | {OLD}")
    ]
    path = tmp_path / "journal"
    path.write_text("\n".join(map(json.dumps, [header, *entries])) + "\n")
    journal = Journal(path, header)
    journal.open()
    assert set(journal.records) == {(NOW, 0), (f"epochs 5 | {NOW}", 0)}


def test_readings_of_a_comparison_are_found(tmp_path: Path) -> None:
    line = {"key": digest(HEAD + OLD), "seed": 3, "score": 0.5, "seconds": 1.0}
    (tmp_path / "readings.jsonl").write_text(json.dumps(line) + "\n")
    readings = Readings(tmp_path / "readings.jsonl")
    assert readings.of(Architecture.parse(HEAD + OLD), 3) == Reading(0.5, 1.0)
    assert readings.of(Architecture.parse(HEAD + "hetconv(p=2) | vanilla | vanilla"), 3) is None
