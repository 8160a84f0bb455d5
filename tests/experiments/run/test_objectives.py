"""Several objectives: the Pareto front is kept, shown, handed over; the budget stays hard."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import FrozenTrial, TrialState, create_trial

from convnas.experiments import launch, plan, read_config
from convnas.experiments.cli import main
from convnas.experiments.config.schema import read_mapping
from convnas.experiments.config.sections import Objective
from convnas.experiments.run.objectives import front
from convnas.experiments.run.study import ranked
from convnas.search_space import Architecture, InputError, cost

Config = dict[str, Any]
Trials = Callable[[Path], list[FrozenTrial]]


def dominated(one: tuple[float, float], points: list[tuple[float, float]]) -> bool:
    """By its definition: some point is as good in both and better in one."""
    return any(a >= one[0] and f <= one[1] and (a, f) != one for a, f in points)


def test_the_front_is_what_nothing_dominates() -> None:
    points = [(0.9, 50.0), (0.8, 40.0), (0.8, 45.0), (0.9, 50.0), (0.7, 60.0), (0.95, 90.0)]
    trials = []
    for number, point in enumerate(points):
        trial = create_trial(values=point)
        trial.number = number
        trials.append(trial)
    trials.append(create_trial(state=TrialState.FAIL))
    kept = front(trials, [Objective(name="accuracy"), Objective(name="flops")])
    assert [trial.number for trial in kept] == [5, 0, 1]


def test_equal_scores_are_ranked_by_fewer_flops_then_by_number() -> None:
    trials = []
    for number, (score, flops) in enumerate([(0.8, 50), (0.9, 70), (0.9, 40), (0.9, 40)]):
        trial = create_trial(values=(score,), user_attrs={"flops": flops})
        trial.number = number
        trials.append(trial)
    assert [trial.number for trial in ranked(trials)] == [2, 3, 1, 0]


@pytest.mark.parametrize("strategy", ["predictor", "nsga2"])
def test_a_search_with_two_objectives_keeps_its_front(
    scripted: Config,
    strategy: str,
    tmp_path: Path,
    trials_of: Trials,
    capsys: pytest.CaptureFixture[str],
    write: Callable[..., str],
) -> None:
    scripted |= {"objectives": ["accuracy", "flops"], "strategy": {"name": strategy}}
    out = tmp_path / "run"
    assert main(["launch", write(scripted), "-o", str(out), "--trials", "14"]) == 0
    assert "Pareto front" in capsys.readouterr().out
    trials = trials_of(out)
    points = []
    for trial in trials:
        found = Architecture.from_dict(trial.user_attrs["architecture"])
        assert trial.values == [trial.user_attrs["score"], cost(found).flops]
        assert trial.values[1] <= 1_000_000
        points.append((trial.values[0], trial.values[1]))
    wanted = {i for i, point in enumerate(points) if not dominated(point, points)}
    assert main(["status", str(out), "--json"]) == 0
    state = json.loads(capsys.readouterr().out)
    assert {each["trial"] for each in state["front"]} == wanted
    assert state["objectives"] == ["accuracy", "flops"]
    assert main(["export", str(out), "--front", "-o", str(tmp_path / "front"), "--json"]) == 0
    written = json.loads(capsys.readouterr().out)
    assert {each["trial"] for each in written} == wanted
    for each in written:
        assert Architecture.load(each["file"]).key == each["key"]
    cheapest = min(written, key=lambda each: each["flops"])
    number = cheapest["trial"]
    assert main(["export", str(out), "--trial", str(number), "--json"]) == 0
    (point,) = json.loads(capsys.readouterr().out)
    assert point["file"] == str(out / f"trial_{number}.yaml")
    assert Architecture.load(point["file"]).key == cheapest["key"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--trial", "99"], "trial: 99 is not allowed; the number of a complete trial; the best: "),
        (
            ["--trial", "0", "--front"],
            "export: '--front with --trial' is not allowed; choose one of",
        ),
        (["--top", "2", "--front"], "export: '--top with --front' is not allowed; choose one of"),
    ],
)
def test_what_cannot_be_exported_is_said(
    scripted: Config,
    words: list[str],
    says: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    launch(*plan(scripted, tmp_path / "run", trials=1))
    capsys.readouterr()
    assert main(["export", str(tmp_path / "run"), *words]) == 2
    err = capsys.readouterr().err
    assert says in err
    assert err.count("\n") == 1


def test_a_measured_metric_is_minimised_and_its_absence_said(
    scripted: Config, tmp_path: Path, trials_of: Trials
) -> None:
    launch(*plan({**scripted, "objectives": ["accuracy", "energy"]}, tmp_path / "run", trials=1))
    (trial,) = trials_of(tmp_path / "run")
    assert trial.state == TrialState.FAIL
    assert trial.user_attrs["reason"] == ("the evaluator measures no energy; its metrics: accuracy")


@pytest.mark.parametrize(
    ("objectives", "pruner", "says"),
    [
        (["flops"], "none", "the first must be accuracy"),
        ([], "none", "the first must be accuracy"),
        (["macro_f2"], "none", "objectives: 'macro_f2'.*macro_f1, balanced_accuracy"),
        (["accuracy", "energy"], "none", "objectives: 'energy'.*proxy measures accuracy.*macro_f1"),
        ([{"name": "accuracy", "direction": "up"}], "none", "choose from: 'maximize'"),
        ([{"name": "macro_f1", "direction": "minimize"}], "none", "macro_f1 is to maximize"),
        (["accuracy", {"name": "flops", "direction": "maximize"}], "none", "flops is to minimize"),
        ([{"name": "cost", "direction": "minimize"}], "none", "the first objective is maximised"),
        ([{"direction": "minimize"}], "none", "objectives.0.name"),
        (["accuracy", "flops", "flops"], "none", "once"),
        (["accuracy", "flops"], "median", "pruner.name"),
    ],
)
def test_objectives_that_mean_nothing_are_refused(
    config: Config, objectives: list[str], pruner: str, says: str
) -> None:
    with pytest.raises(InputError, match=says):
        read_config({**config, "objectives": objectives, "pruner": {"name": pruner}})


def test_a_metric_of_classes_is_the_score_the_curve_and_the_name(
    config: Config, tmp_path: Path, trials_of: Trials, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = [{"name": "macro_f1", "direction": "maximize"}, "balanced_accuracy", "flops"]
    config |= {"objectives": wanted, "trials": 2, "evaluator": {"name": "proxy", "epochs": 2}}
    run, settings = plan(config, tmp_path / "run")
    launch(run, settings)
    for trial in trials_of(run.path):
        attrs = trial.user_attrs
        found = Architecture.from_dict(attrs["architecture"])
        expected = [attrs["metric.macro_f1"], attrs["metric.balanced_accuracy"], cost(found).flops]
        assert trial.values == expected
        assert attrs["curve"][-1] == attrs["metric.macro_f1"] != attrs["metric.accuracy"]
    assert main(["status", str(run.path)]) == 0
    head = capsys.readouterr().out
    assert "macro_f1" in head.split("Pareto front")[0]
    assert main(["status", str(run.path), "--json"]) == 0
    state = json.loads(capsys.readouterr().out)
    assert state["objectives"] == ["macro_f1", "balanced_accuracy", "flops"]
    # The run says what it was told, and goes on with it.
    assert read_mapping(run.config_path)["objectives"] == wanted
    assert main(["launch", "-o", str(run.path), "--trials", "3"]) == 0


def test_of_metrics_alone_the_first_objective_is_the_score(
    scripted: Config, tmp_path: Path, trials_of: Trials
) -> None:
    scripted["evaluator"] = {"name": "python:measuring:Measuring"}
    scripted |= {"objectives": ["utility", "energy"], "trials": 2}
    launch(*plan(scripted, tmp_path / "run"))
    for trial in trials_of(tmp_path / "run"):
        utility = int(trial.user_attrs["key"], 16) / 16**16
        assert trial.values == [utility, 1 - utility]
        assert trial.user_attrs["curve"] == [utility / 2, utility]


def test_an_own_evaluator_without_the_objective_says_what_it_measures(
    scripted: Config, tmp_path: Path, trials_of: Trials
) -> None:
    scripted["evaluator"] = {"name": "python:measuring:Measuring"}
    scripted |= {"objectives": ["joy"], "trials": 1}
    launch(*plan(scripted, tmp_path / "run"))
    (trial,) = trials_of(tmp_path / "run")
    reason = "the evaluator measures no joy; its metrics: energy, utility"
    assert trial.user_attrs["reason"] == reason
