from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import torch
from optuna.trial import FrozenTrial, TrialState

from convnas.experiments import launch, plan
from convnas.experiments.cli import main
from convnas.experiments.run.directory import Lock, RunDirectory
from convnas.search_space import Architecture, InputError, build_network, cost

Config = dict[str, Any]
Trials = Callable[[Path], list[FrozenTrial]]


def run_of(config: Config, path: Path, **changes: Any) -> Path:
    launch(*plan(config, path, **changes))
    return path


def test_trained_trials_are_inside_the_budget_and_never_repeated(
    config: Config, tmp_path: Path, trials_of: Trials
) -> None:
    run = run_of(config, tmp_path / "run", workers=2)
    trials = trials_of(run)
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 6
    found = [Architecture.from_dict(trial.user_attrs["architecture"]) for trial in trials]
    assert len(set(found)) == 6
    for trial, architecture in zip(trials, found, strict=True):
        assert cost(architecture).flops == trial.user_attrs["flops"] <= 1_000_000
        assert trial.user_attrs["key"] == architecture.key
        assert trial.user_attrs["curve"] == [trial.value]
        assert trial.intermediate_values == {1: trial.value}
        assert (
            sum(p.numel() for p in build_network(architecture).parameters())
            == (trial.user_attrs["params"])
        )
    best = max(trials, key=lambda trial: trial.values[0])
    assert Architecture.load(run / "best.yaml").to_dict() == best.user_attrs["architecture"]


def test_one_worker_and_one_seed_give_one_search(
    config: Config, tmp_path: Path, trials_of: Trials
) -> None:
    config["strategy"] = {"name": "tpe"}
    runs = [run_of(config, tmp_path / name, workers=1, trials=3) for name in ("a", "b")]
    first, second = ([(t.params, t.value) for t in trials_of(run)] for run in runs)
    assert first == second


def test_a_run_goes_on_to_n_trials_in_all_without_training_again(
    scripted: Config, tmp_path: Path, trials_of: Trials
) -> None:
    run = run_of(scripted, tmp_path / "run", trials=3)
    before = [(t.number, t.value) for t in trials_of(run)]
    launch(*plan(None, run, trials=5, strategy="tpe", workers=1))
    trials = trials_of(run)
    assert [(t.number, t.value) for t in trials[:3]] == before
    assert len(trials) == 5
    assert len(set(evaluated(tmp_path))) == len(evaluated(tmp_path)) == 5
    launch(*plan(None, run))
    assert len(trials_of(run)) == 5


def evaluated(tmp_path: Path) -> list[str]:
    """The keys in the order in which their evaluations started."""
    return [line.split()[1] for line in (tmp_path / "record.txt").read_text().splitlines()]


def test_another_experiment_is_refused_in_the_same_directory(run: Path, trials_of: Trials) -> None:
    with pytest.raises(InputError, match="seed: 5"):
        launch(*plan(None, run, seed=5))
    with pytest.raises(InputError, match=r"budget\.flops: '800K'"):
        launch(*plan(None, run, budget="800K"))
    assert len(trials_of(run)) == 6


@pytest.mark.parametrize("pruned", [False, True])
def test_a_score_that_was_kept_and_not_told_is_told_on_going_on(
    run: Path, trials_of: Trials, pruned: bool
) -> None:
    """As a run is that was killed after it kept a score, before Optuna heard of it."""
    before = [(t.state, t.values, t.user_attrs) for t in trials_of(run)]
    with closing(sqlite3.connect(run / "study.db")) as study, study:
        study.execute(
            "UPDATE trials SET state = 'RUNNING', datetime_complete = NULL WHERE number = 4"
        )
        study.execute("DELETE FROM trial_values WHERE trial_id = 5")
        study.execute(
            "UPDATE trial_user_attributes SET value_json = ? WHERE trial_id = 5 AND key = 'pruned'",
            [json.dumps(pruned)],
        )
    record = Path(RunDirectory(run).read_config().evaluator["record"])
    trained = record.read_text()
    launch(*plan(None, run))
    after = trials_of(run)
    assert after[4].state == (TrialState.PRUNED if pruned else TrialState.COMPLETE)
    assert pruned or after[4].values == before[4][1]
    assert after[4].user_attrs == before[4][2] | {"pruned": pruned}
    # Nothing was trained for it, and nothing else has changed.
    assert record.read_text() == trained
    others = [(t.state, t.values, t.user_attrs) for t in after]
    assert others[:4] + others[5:] == before[:4] + before[5:]


def test_trials_that_go_wrong_fail_with_their_reasons_and_the_search_goes_on(
    scripted: Config, tmp_path: Path, trials_of: Trials
) -> None:
    reasons = {
        "nan": "its score is nan",
        "refuse": "no score today",
        "fall": "KeyError: 'a mistake in the evaluator'",
        "kill": "worker was killed by signal 9 (out of memory?)",
        "exit": "worker ended with exit status 3",
        "hang": "took longer than trial_timeout, 2 s, and was stopped",
    }
    scripted["evaluator"] |= {"faults": {name: number for number, name in enumerate(reasons, 2)}}
    run = run_of({**scripted, "trial_timeout": 2}, tmp_path / "run", trials=8)
    trials = trials_of(run)
    assert len(evaluated(tmp_path)) == 8
    assert [trial.state for trial in trials] == (
        [TrialState.COMPLETE, *[TrialState.FAIL] * 6, TrialState.COMPLETE]
    )
    assert [trial.user_attrs["reason"] for trial in trials[1:7]] == list(reasons.values())


def test_a_loss_that_overflows_fails_its_trials_and_the_run(
    config: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str], write: Callable[..., str]
) -> None:
    config["evaluator"] |= {"learning_rate": 1e30}
    out = str(tmp_path / "run")
    assert main(["launch", write(config), "-o", out, "--trials", "2", "--json"]) == 1
    said = capsys.readouterr()
    assert json.loads(said.out)["trials"] == {"complete": 0, "pruned": 0, "failed": 2, "running": 0}
    assert "no trial completed" in said.err


def test_pruning_stops_what_is_below_the_median(
    scripted: Config, tmp_path: Path, trials_of: Trials
) -> None:
    scripted["pruner"] = {"name": "median", "startup_trials": 2, "warmup_epochs": 0}
    run = run_of(scripted, tmp_path / "run", trials=12)
    trials = trials_of(run)
    earlier: list[float] = []
    for trial in trials:
        first = trial.intermediate_values[1]
        below = len(earlier) >= 2 and first < float(torch.tensor(earlier).quantile(0.5))
        assert (trial.state == TrialState.PRUNED) == below
        if not below:
            earlier.append(first)
    assert any(trial.state == TrialState.PRUNED for trial in trials)


def test_a_search_through_the_whole_set_ends_and_says_so(
    scripted: Config,
    tmp_path: Path,
    trials_of: Trials,
    capsys: pytest.CaptureFixture[str],
    write: Callable[..., str],
) -> None:
    scripted["space"] = {**scripted["space"], "stage": {"conv": ["vanilla", "hetconv"], "p": [2]}}
    scripted["budget"] = {}
    out = tmp_path / "run"
    assert main(["launch", write(scripted), "-o", str(out), "--trials", "20"]) == 0
    assert "every architecture inside the budget has been tried" in capsys.readouterr().out
    assert len(trials_of(out)) == len(set(evaluated(tmp_path))) == 8
    assert main(["launch", "-o", str(out)]) == 0
    assert len(trials_of(out)) == 8


def test_data_that_does_not_fit_the_space_ends_before_any_trial(
    config: Config, tmp_path: Path
) -> None:
    config["space"] = {**config["space"], "classes": 7}
    with pytest.raises(InputError, match=r"space\.classes: '?7'? .*10 classes"):
        run_of(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_second_launch_is_refused_while_one_holds_the_directory(run: Path) -> None:
    held = RunDirectory(run)
    with Lock(held), pytest.raises(InputError, match="another launch is using it"):
        launch(*plan(None, run, trials=9))
    assert held.workers() is None


@pytest.mark.parametrize("place", ["a file", "a folder with other files", "below a file"])
def test_a_place_that_cannot_be_a_run_directory_is_refused(
    scripted: Config, tmp_path: Path, place: str
) -> None:
    there = tmp_path / "there"
    if place == "a folder with other files":
        there.mkdir()
        (there / "thesis.tex").write_text("")
    else:
        there.write_text("")
    with pytest.raises(InputError, match="RUN_DIR"):
        launch(*plan(scripted, there / "run" if place == "below a file" else there))
