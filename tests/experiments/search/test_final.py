"""The final choice: new seeds for the best few, a winner with its spread, ties called ties."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest

from convnas.experiments import launch, plan
from convnas.experiments.cli import main
from convnas.experiments.run.finalists import Finalist, judged
from convnas.search_space import Architecture

Config = dict[str, Any]


def finalist(trial: int, *scores: float) -> Finalist:
    return Finalist(trial, f"key{trial}", scores)


def test_means_far_apart_are_no_tie() -> None:
    ranked = judged([finalist(3, 0.80, 0.81, 0.79), finalist(7, 0.90, 0.91, 0.89)])
    assert [one.trial for one in ranked] == [7, 3]
    assert not any(one.tied for one in ranked)
    assert ranked[0].mean == pytest.approx(0.9)
    assert ranked[0].spread == pytest.approx(0.01)


def test_a_tie_is_what_student_s_t_cannot_tell_apart() -> None:
    # Pooled variance 1e-4 over 4 degrees of freedom: the error of a difference of two means of
    # three is .01 * sqrt(2 / 3) = .008165, and t(.95, 4) = 2.1318 (printed tables): .01741.
    inside = judged([finalist(0, 0.90, 0.91, 0.89), finalist(1, 0.8827, 0.8927, 0.8727)])
    outside = judged([finalist(0, 0.90, 0.91, 0.89), finalist(1, 0.8825, 0.8925, 0.8725)])
    assert [one.tied for one in inside] == [True, True]
    assert [one.tied for one in outside] == [False, False]


def test_one_seed_has_no_spread_and_no_ties() -> None:
    ranked = judged([finalist(0, 0.5), finalist(1, 0.6)])
    told = [(one.trial, one.spread, one.tied) for one in ranked]
    assert told == [(1, None, False), (0, None, False)]
    assert ranked[0].shown == "0.6000"
    assert ranked[0].seeds == "1 new seed"
    two = finalist(0, 0.5, 0.7)
    assert (two.shown, two.seeds) == ("0.6000 +- 0.1414", "2 new seeds")
    assert judged([]) == []


def test_a_launch_ends_with_new_seeds_in_a_second_study(
    scripted: Config,
    tmp_path: Path,
    write: Callable[..., str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    scripted |= {"final": {"top": 3, "seeds": 2}}
    out, path = tmp_path / "run", write(scripted)
    assert main(["launch", path, "-o", str(out)]) == 0
    said = capsys.readouterr().out
    assert "winner: trial" in said
    assert "over 2 new seeds" in said
    names = optuna.get_all_study_names(f"sqlite:///{out}/study.db")
    assert sorted(names) == ["small", "small (final)"]
    final = optuna.load_study(study_name="small (final)", storage=f"sqlite:///{out}/study.db")
    search = optuna.load_study(study_name="small", storage=f"sqlite:///{out}/study.db")
    best = sorted(search.trials, key=lambda t: -t.values[0])[:3]
    got = [(t.user_attrs["trial"], t.user_attrs["seed"]) for t in final.trials]
    assert sorted(got) == sorted((t.number, seed) for t in best for seed in (1, 2))
    by_trial = {
        number: [t.values[0] for t in final.trials if t.user_attrs["trial"] == number]
        for number, _ in got
    }
    winner = max(by_trial, key=lambda number: statistics.fmean(by_trial[number]))
    wanted = Architecture.from_dict(search.trials[winner].user_attrs["architecture"])
    assert Architecture.load(out / "best.yaml") == wanted
    assert main(["status", str(out), "--json"]) == 0
    state = json.loads(capsys.readouterr().out)
    assert state["best"]["trial"] == winner
    assert state["best"]["final"]["mean"] == pytest.approx(statistics.fmean(by_trial[winner]))
    # Going on with nothing to do trains nothing again.
    record = tmp_path / "record.txt"
    before = len(record.read_text().splitlines())
    assert before == 6 + 3 * 2
    assert main(["launch", "-o", str(out)]) == 0
    assert len(record.read_text().splitlines()) == before


def test_a_failing_reading_costs_that_reading_only(scripted: Config, tmp_path: Path) -> None:
    scripted["evaluator"] |= {"faults": {"refuse": 8}}
    launch(*plan({**scripted, "final": {"top": 2, "seeds": 2}}, tmp_path / "run"))
    final = optuna.load_study(
        study_name="small (final)", storage=f"sqlite:///{tmp_path}/run/study.db"
    )
    assert [t.state.name for t in final.trials].count("FAIL") == 1
    assert len(final.trials) == 4


def test_the_final_choice_can_go_by_another_metric(
    scripted: Config, tmp_path: Path, write: Callable[..., str], capsys: Any
) -> None:
    scripted |= {"evaluator": {"name": "params"}, "final": {"top": 2, "seeds": 1, "by": "int8"}}
    run = tmp_path / "run"
    assert main(["launch", write(scripted), "-o", str(run), "--trials", "3"]) == 0
    log = (run / "log.txt").read_text()
    assert "failed, the evaluator measures no int8; its metrics:" in log
    proxy = {"name": "proxy", "epochs": 1, "share": 0.2, "int8": True}
    scripted |= {"evaluator": proxy, "final": {"top": 2, "seeds": 1, "by": "int8_accuracy"}}
    other = tmp_path / "other"
    assert main(["launch", write(scripted), "-o", str(other), "--trials", "2"]) == 0
    storage = optuna.storages.RDBStorage(f"sqlite:///{other / 'study.db'}")
    try:
        names = [s.study_name for s in optuna.get_all_study_summaries(storage)]
        (final,) = (name for name in names if name.endswith("(final)"))
        trials = optuna.load_study(study_name=final, storage=storage).trials
    finally:
        storage.engine.dispose()
    assert {trial.user_attrs["by"] for trial in trials} == {"int8_accuracy"}
    # Validation has 359 digits, of which a whole number is right.
    for trial in trials:
        assert trial.values[0] * 359 == pytest.approx(round(trial.values[0] * 359))
