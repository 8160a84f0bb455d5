"""A run that begins with the trials of another: `launch --from`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from optuna.trial import FrozenTrial, TrialState

import convnas
from convnas.experiments import launch, plan
from convnas.experiments.cli import main
from convnas.experiments.report.facts import spent
from convnas.experiments.run.directory import RunDirectory
from convnas.experiments.run.results import Results, status
from convnas.search_space import Architecture, InputError, cost

Config = dict[str, Any]
Trials = Callable[[Path], list[FrozenTrial]]
Write = Callable[..., str]


def config_of(run: Path, **changes: Any) -> Config:
    """That of the finished scripted run, as a user would write the next one."""
    kept = yaml.safe_load((run / "config.yaml").read_text())
    del kept["versions"]
    return {**kept, "name": "next", **changes}


def evaluated(config: Config) -> list[str]:
    """The keys of all evaluations, in the order in which they started."""
    record = Path(config["evaluator"]["record"])
    return [line.split()[1] for line in record.read_text().splitlines()]


def key(trial: FrozenTrial) -> str:
    return Architecture.from_dict(trial.user_attrs["architecture"]).key


def test_trials_inside_a_lower_budget_are_taken_over_and_count_and_are_not_repeated(
    run: Path, tmp_path: Path, write: Write, trials_of: Trials, capsys: pytest.CaptureFixture[str]
) -> None:
    old = trials_of(run)
    # Half of the six are within the median; the dearest of these sets the budget.
    limit = sorted(t.user_attrs["flops"] for t in old)[2]
    fit = [
        t for t in old if cost(Architecture.from_dict(t.user_attrs["architecture"])).flops <= limit
    ]
    config = config_of(run, budget={"flops": limit}, trials=5)
    before = len(evaluated(config))
    new = tmp_path / "new"
    assert main(["launch", write(config), "-o", str(new), "--from", str(run)]) == 0
    left = 6 - len(fit)
    assert (
        f"{len(fit)} of 6 finished trials of {run} taken over"
        f" ({left} are not in this space or budget)" in capsys.readouterr().err
    )
    trials = trials_of(new)
    assert len(trials) == 5
    assert len({key(t) for t in trials}) == 5
    for was, now in zip(fit, trials, strict=False):
        assert (now.state, now.values, key(now)) == (TrialState.COMPLETE, was.values, key(was))
        assert now.user_attrs["from_run"] == str(run)
        assert now.user_attrs["from_trial"] == was.number
        assert now.params == was.params
    own = trials[len(fit) :]
    assert all("from_run" not in t.user_attrs for t in own)
    assert evaluated(config)[before:] == [key(t) for t in own]
    assert status(RunDirectory(new))["trials"]["complete"] == 5


def test_an_export_of_a_trial_taken_over_trains_it(run: Path, tmp_path: Path) -> None:
    config = {**config_of(run, trials=6), "training": {"epochs": 1}}
    new = tmp_path / "new"
    loaded = convnas.launch(config, new, from_runs=[run], watch=lambda progress: None)
    best = loaded.best
    assert best is not None
    assert list(loaded.trials["state"]) == ["complete"] * 6
    assert Architecture.load(new / "best.yaml") == best.architecture
    # Nothing was trained here.
    assert spent(Results.of(RunDirectory(new)).trials, []).wall == 0
    assert main(["export", str(new), "--format", "pt", "-o", str(tmp_path / "best.pt")]) == 0
    assert (new / "weights" / f"{best.architecture.key}.pt").exists()
    assert main(["report", str(new)]) == 0
    assert main(["status", str(new)]) == 0


def test_another_evaluation_only_says_what_to_try_first(
    run: Path, tmp_path: Path, write: Write, trials_of: Trials, capsys: pytest.CaptureFixture[str]
) -> None:
    config = config_of(run, trials=6)
    config["evaluator"] = {**config["evaluator"], "seconds": 0.001}
    before = len(evaluated(config))
    new = tmp_path / "new"
    assert main(["launch", write(config), "-o", str(new), "--from", str(run)]) == 0
    assert (
        f"{run} was measured otherwise (evaluator.seconds: None, here 0.001):"
        " its best 5 that fit are tried first" in capsys.readouterr().err
    )
    best = sorted(trials_of(run), key=lambda t: -t.values[0])[:5]
    trials = trials_of(new)
    assert [key(t) for t in trials[:5]] == [key(t) for t in best]
    assert evaluated(config)[before:] == [key(t) for t in trials]
    assert [t.user_attrs.get("from_trial") for t in trials] == [*(t.number for t in best), None]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"seed": 1}, "seed: 0, here 1"),
        ({"data": {"name": "digits", "validation": 0.25}}, "data.validation: None, here 0.25"),
        ({"objectives": ["accuracy", "flops"]}, "objectives"),
        ({"space": {"input": [1, 12, 12]}, "budget": {}}, r"space.input: [1, 8, 8], here"),
    ],
)
def test_what_a_score_depends_on_is_compared(
    changes: Config, said: str, run: Path, tmp_path: Path, trials_of: Trials
) -> None:
    config = config_of(run, trials=1)
    space = {**config["space"], **changes.pop("space", {})}
    told: list[str] = []
    launch(
        *plan({**config, "space": space, **changes}, tmp_path / "new"),
        from_runs=[run],
        tell=told.append,
    )
    (line,) = told
    assert f"was measured otherwise ({said}" in line
    assert "its best 5 that fit are tried first" in line
    states = [t.state for t in trials_of(tmp_path / "new")]
    assert states == [TrialState.COMPLETE] + [TrialState.WAITING] * 4


def test_a_default_that_is_written_out_makes_no_difference(
    config: Config, tmp_path: Path, trials_of: Trials
) -> None:
    config |= {"evaluator": {"name": "params"}, "trials": 2, "data": {"name": "digits"}}
    launch(*plan(config, tmp_path / "old"))
    told: list[str] = []
    # The defaults of `data:`, as docs/evaluators.md lists them.
    config["data"] = {"name": "digits", "validation": 0.2, "test": 0.2}
    config["trials"] = 3
    launch(*plan(config, tmp_path / "new"), from_runs=[tmp_path / "old"], tell=told.append)
    assert told == [f"2 of 2 finished trials of {tmp_path / 'old'} taken over"]
    assert len({key(t) for t in trials_of(tmp_path / "new")}) == 3


def test_two_runs_are_taken_over_without_repeats(
    run: Path, tmp_path: Path, trials_of: Trials
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    launch(*plan(config_of(run, trials=8), first), from_runs=[run])
    told: list[str] = []
    launch(*plan(config_of(run, trials=8), second), from_runs=[run, first], tell=told.append)
    assert told[0] == f"6 of 6 finished trials of {run} taken over"
    assert told[1] == f"2 of 8 finished trials of {first} taken over (6 are there already)"
    assert [t.user_attrs["from_trial"] for t in trials_of(second)] == [*range(6), 6, 7]


def test_nothing_that_fits_is_said_and_the_launch_goes_on(
    run: Path, tmp_path: Path, trials_of: Trials
) -> None:
    told: list[str] = []
    config = config_of(run, trials=1, budget={})
    config["space"]["stage"] = {"conv": ["octave"], "alpha": [0.125]}
    launch(*plan(config, tmp_path / "new"), from_runs=[run], tell=told.append)
    assert told == [f"{run}: none of its 6 finished trials is in this space and budget"]
    assert len(trials_of(tmp_path / "new")) == 1


def test_pruned_and_failed_trials_are_left_where_they_are(
    scripted: Config, tmp_path: Path, trials_of: Trials
) -> None:
    scripted["evaluator"]["faults"] = {"nan": 2}
    launch(*plan(scripted, tmp_path / "old", trials=3))
    told: list[str] = []
    launch(
        *plan(scripted, tmp_path / "new", trials=2), from_runs=[tmp_path / "old"], tell=told.append
    )
    assert told == [f"2 of 2 finished trials of {tmp_path / 'old'} taken over"]
    assert [t.user_attrs["from_trial"] for t in trials_of(tmp_path / "new")] == [0, 2]


def test_a_run_that_goes_on_takes_nothing_over_twice(
    run: Path, tmp_path: Path, write: Write, trials_of: Trials, capsys: pytest.CaptureFixture[str]
) -> None:
    new, config = tmp_path / "new", write(config_of(run, trials=7))
    again = ["launch", config, "-o", str(new)]
    assert main([*again, "--from", str(run)]) == 0
    before = [(t.number, t.values) for t in trials_of(new)]
    assert main([*again, "--from", str(run)]) == 0
    assert main(["launch", "-o", str(new), "--trials", "8"]) == 0
    trials = trials_of(new)
    assert [(t.number, t.values) for t in trials[:7]] == before
    assert len(trials) == len({key(t) for t in trials}) == 8
    capsys.readouterr()
    assert main([*again, "--from", str(new)]) == 2
    assert f"--from: '{new}' is not allowed; {new} has begun already" in capsys.readouterr().err


def test_what_cannot_be_taken_over_is_one_line_and_leaves_nothing(
    run: Path, tmp_path: Path, write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    config = config_of(run)
    other = {**config, "space": {**config["space"], "backbone": "resnet20"}, "budget": {}}
    other["space"]["stage"] = {"conv": ["vanilla", "octave"], "alpha": [0.25]}
    empty, folder = tmp_path / "empty", tmp_path / "folder"
    folder.mkdir()
    evaluator = {
        "name": config["evaluator"]["name"],
        "record": str(tmp_path / "own.txt"),
        "faults": {"nan": 1},
    }
    launch(*plan({**config, "evaluator": evaluator}, empty, trials=1))
    stored = {**config, "storage": "postgresql://nobody@127.0.0.1/none"}
    new = tmp_path / "new"
    for made, path, said in [
        (config, tmp_path / "no", "it must be a folder that convnas launch has made"),
        (config, folder, "it must be a folder that convnas launch has made"),
        (config, empty, "it must hold at least one complete trial"),
        (other, run, "its backbone is resnet-cifar, and here it is resnet20"),
        (stored, run, "a run whose study is in a database takes no trials over"),
    ]:
        assert main(["launch", write(made), "-o", str(new), "--from", str(path)]) == 2
        said_last = capsys.readouterr().err.strip().splitlines()[-1]
        assert f"--from: '{path}' is not allowed; {said}" in said_last
        assert not new.exists()


def test_data_that_do_not_fit_leave_no_run_though_some_trials_wait_in_it(
    run: Path, tmp_path: Path
) -> None:
    config = config_of(run, evaluator={"name": "proxy", "epochs": 1}, trials=2)
    config["space"]["classes"] = 7
    with pytest.raises(InputError, match="classes"):
        launch(*plan(config, tmp_path / "new"), from_runs=[run])
    assert not (tmp_path / "new").exists()
