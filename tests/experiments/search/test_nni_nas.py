"""NNI's NAS strategies in a launch."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import FrozenTrial, TrialState

from convnas.experiments import launch, plan
from convnas.experiments.cli import main
from convnas.search_space import Architecture, cost

Config = dict[str, Any]
Trials = Callable[[Path], list[FrozenTrial]]


@pytest.mark.parametrize("name", ["evolution", "grid", "random", "tpe"])
def test_a_search_inside_the_budget_without_repeats(
    scripted: Config, tmp_path: Path, trials_of: Trials, name: str
) -> None:
    settings = {"population_size": 3, "sample_size": 2} if name == "evolution" else {}
    strategy = {"name": f"nni-nas-{name}", **settings}
    evaluator = {**scripted["evaluator"], "faults": {"refuse": 2}}
    run = tmp_path / "run"
    launch(*plan({**scripted, "strategy": strategy, "evaluator": evaluator}, run, trials=9))
    trials = trials_of(run)
    assert len(trials) == 9
    assert [trial.state for trial in trials].count(TrialState.FAIL) == 1
    found = [Architecture.from_dict(trial.user_attrs["architecture"]) for trial in trials]
    assert len(set(found)) == 9
    assert all(cost(architecture).flops <= 1_000_000 for architecture in found)
    asked = [line.split()[1] for line in (tmp_path / "record.txt").read_text().splitlines()]
    assert sorted(asked) == sorted(architecture.key for architecture in found)


def test_an_error_in_nni_ends_the_run_with_the_reason_and_the_next_run_goes_on(
    scripted: Config,
    tmp_path: Path,
    trials_of: Trials,
    write: Callable[..., str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from convnas.strategies.nni_nas.loading import load_nni_nas

    load_nni_nas()
    from nni.nas.strategy import RegularizedEvolution

    def broken(self: Any) -> None:
        raise ZeroDivisionError("there are no parents")

    strategy = {"name": "nni-nas-evolution", "population_size": 3, "sample_size": 2}
    config, run = write({**scripted, "strategy": strategy}), tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(RegularizedEvolution, "best_parent", broken)
        assert main(["launch", config, "-o", str(run)]) == 1
    said = capsys.readouterr().err.splitlines()
    assert said[-1] == (
        "convnas: NNI's RegularizedEvolution failed: ZeroDivisionError: there are no parents"
    )
    assert main(["launch", config, "-o", str(run)]) == 0
    trials = trials_of(run)
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 6
    assert len({trial.user_attrs["key"] for trial in trials}) == 6


@pytest.mark.parametrize("command", ["launch", "compare"])
def test_without_the_extra_one_line_names_it(
    command: str,
    config: Config,
    tmp_path: Path,
    write: Callable[..., str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "pytorch_lightning", None)
    flag = {"launch": "--strategy", "compare": "--strategies"}[command]
    argv = [command, write(config), flag, "nni-nas-tpe", "-o", str(tmp_path / "out")]
    assert main(argv) == 2
    assert capsys.readouterr().err == (
        "convnas: strategy.name: 'nni-nas-tpe' is not allowed; it needs pytorch_lightning, which"
        " pip install 'convnas[nas]' brings\n"
    )
