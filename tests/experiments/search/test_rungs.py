"""Stopping at rungs: by the rule written out, never where a rung does not predict."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState

from convnas.experiments import launch, plan, read_config
from convnas.experiments.cli import main
from convnas.experiments.search.pruning import (
    CONTROLS,
    RungPruner,
    correlations,
    is_control,
    rung_epochs,
)
from convnas.search_space import InputError

Config = dict[str, Any]


def searched(pruner: RungPruner, finals: list[float], noise: float, epochs: int = 9) -> Any:
    """Trials whose curve rises to `finals`, hidden in noise at all epochs but the last."""
    rng = np.random.default_rng(0)
    study = optuna.create_study(direction="maximize", pruner=pruner)
    for final in finals:
        trial = study.ask()
        for epoch in range(1, epochs + 1):
            hidden = rng.normal(0, noise) if epoch < epochs else 0.0
            trial.report(final * epoch / epochs + hidden, epoch)
            if trial.should_prune():
                study.tell(trial, state=TrialState.PRUNED)
                break
        else:
            study.tell(trial, final)
    return study


def finals(n: int) -> list[float]:
    return np.random.default_rng(1).permutation(n).astype(float).tolist()


def asha(said: list[str], brackets: int | None = 1) -> RungPruner:
    return RungPruner(9, eta=3, min_epochs=1, brackets=brackets, warn=said.append)


def test_rungs_are_powers_of_eta_before_the_end() -> None:
    assert rung_epochs(27, eta=3, min_epochs=1) == [1, 3, 9]
    assert rung_epochs(28, eta=3, min_epochs=1) == [1, 3, 9, 27]
    assert rung_epochs(20, eta=2, min_epochs=5) == [5, 10]


def test_a_trial_goes_on_while_it_is_in_the_top_third_of_its_rung() -> None:
    said: list[str] = []
    study = searched(asha(said), finals(60), noise=0.0)
    for trial in study.trials:
        last = max(trial.intermediate_values)
        for epoch in (1, 3):
            if epoch > last:
                continue
            earlier = [
                t.intermediate_values[epoch]
                for t in study.trials[: trial.number]
                if epoch in t.intermediate_values
            ]
            mine = trial.intermediate_values[epoch]
            n = len(earlier) + 1
            stays = n < 3 or sum(value > mine for value in earlier) < n // 3
            assert (epoch == last) == (not stays and not is_control(trial.number))
    assert not said
    states = Counter(trial.state for trial in study.trials)
    assert states[TrialState.PRUNED] > 30


def test_controls_run_to_the_end_whatever_they_score() -> None:
    study = searched(asha([]), [100.0 - i for i in range(40)], noise=0.0)
    for trial in study.trials:
        control = trial.number < CONTROLS or trial.number % 10 == 0
        assert (trial.state == TrialState.COMPLETE) == control


def test_a_rung_that_does_not_predict_is_switched_off_with_a_warning() -> None:
    said: list[str] = []
    study = searched(asha(said), finals(40), noise=1000.0)
    assert {trial.state for trial in study.trials} == {TrialState.COMPLETE}
    assert any("rung of epoch 1: tau" in line and "switched off" in line for line in said)
    for rung in correlations(study.trials, [1, 3]):
        assert rung.tau < 0.5
        assert not rung.on


def test_tau_counts_the_pairs_that_agree() -> None:
    study = searched(asha([]), finals(30), noise=3.0)
    controls = [t for t in study.trials if is_control(t.number)]
    pairs = [(t.intermediate_values[3], t.values[0]) for t in controls]
    signs = [np.sign((a[0] - b[0]) * (a[1] - b[1])) for a, b in itertools.combinations(pairs, 2)]
    (rung,) = correlations(study.trials, [3])
    assert rung.trials == len(controls)
    assert rung.tau == pytest.approx(sum(signs) / len(signs))


def test_hyperband_gives_its_brackets_their_shares() -> None:
    pruner = asha([], brackets=None)  # rungs 1 and 3: brackets from 1, from 3, and without any
    turns = Counter(pruner.bracket(number) for number in range(17 * 3))
    # n_s = ceil((s_max + 1) / (s + 1) * eta^s) for s = 2, 1, 0: 9, 5 and 3 (Li et al., 2018).
    assert turns == {0: 27, 1: 15, 2: 9}
    study = searched(pruner, [100.0 - i for i in range(60)], noise=0.0)
    for trial in study.trials:
        stopped = {0: 1, 1: 3, 2: 9}[pruner.bracket(trial.number)]
        same = [n for n in range(trial.number) if pruner.bracket(n) == pruner.bracket(trial.number)]
        if not is_control(trial.number) and len(same) >= 3:
            assert max(trial.intermediate_values) == stopped


def test_a_launch_stops_and_says_how_well_its_rungs_predict(
    scripted: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str], trials_of: Any
) -> None:
    scripted["pruner"] = {"name": "asha", "max_epochs": 2}
    launch(*plan(scripted, tmp_path / "run", trials=24))
    trials = trials_of(tmp_path / "run")
    assert {t.state for t in trials} == {TrialState.COMPLETE, TrialState.PRUNED}
    assert all(t.state == TrialState.COMPLETE for t in trials if is_control(t.number))
    assert main(["status", str(tmp_path / "run"), "--json"]) == 0
    (rung,) = json.loads(capsys.readouterr().out)["rungs"]
    # The scripted evaluator's first epoch is half of its last one.
    assert rung == {"epoch": 1, "tau": 1.0, "trials": CONTROLS + 2, "on": True}
    assert main(["status", str(tmp_path / "run")]) == 0
    assert "tau 1.00 with the final ranking of 10 trials" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("pruner", "says"),
    [
        ({"name": "asha"}, r"pruner\.max_epochs"),
        ({"name": "hyperband", "max_epochs": 1}, r"pruner\.min_epochs"),
        ({"name": "asha", "max_epochs": 9, "eta": 1}, r"pruner\.eta"),
        ({"name": "halving"}, "hyperband"),
    ],
)
def test_rungs_that_mean_nothing_are_refused(
    scripted: Config, pruner: dict[str, Any], says: str
) -> None:
    with pytest.raises(InputError, match=says):
        read_config({**scripted, "pruner": pruner})
