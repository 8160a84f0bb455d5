"""`convnas runs` and `convnas diff`."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

from optuna.trial import TrialState

from convnas.experiments.cli import main
from convnas.experiments.run.study import read_trials


def test_runs_lists_every_run_with_its_state_and_best(run, tmp_path, capsys) -> None:
    shutil.copytree(run, tmp_path / "deep" / "er")
    (tmp_path / "no run").mkdir()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "config.yaml").write_text("name: [")
    assert main(["runs", str(tmp_path), "--json"]) == 0
    listed = {each["run"]: each for each in json.loads(capsys.readouterr().out)}
    assert set(listed) == {str(tmp_path / name) for name in ("run", "deep/er", "broken")}
    best = max(t.values[0] for t in read_trials(run / "study.db"))
    assert listed[str(run)] == {
        "run": str(run),
        "state": "ended",
        "ended": 6,
        "wanted": 6,
        "best": best,
        "objective": "accuracy",
        "flops": listed[str(run)]["flops"],
    }
    assert "problem" in listed[str(tmp_path / "broken")]
    assert main(["runs", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert f"{best:.4f}" in shown
    assert "6/6" in shown
    assert main(["runs", str(tmp_path / "absent")]) == 2


def test_diff_names_what_differs_and_compares_the_curves(
    run, scripted, write, tmp_path, capsys
) -> None:
    scripted |= {"seed": 1, "trials": 2, "strategy": {"name": "random"}}
    other = tmp_path / "other"
    assert main(["launch", write(scripted), "-o", str(other)]) == 0
    capsys.readouterr()
    _prune_the_best(run)
    assert main(["diff", str(run), str(other), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    settings = {key: values for key, values in found["settings"].items() if "record" not in key}
    assert settings == {"seed": [0, 1], "trials": [6, 2]}
    for curve, path in zip(found["curves"], (run, other), strict=True):
        complete = [t for t in read_trials(path / "study.db") if t.state == TrialState.COMPLETE]
        scores = [t.values[0] for t in complete]
        assert len(scores) == (5 if path == run else 2)
        assert curve == [max(scores[: i + 1]) for i in range(len(scores))]
    assert main(["diff", str(run), str(other)]) == 0
    shown = capsys.readouterr().out
    assert "best after 5" in shown
    assert "seed" in shown


def _prune_the_best(run: Path) -> None:
    """As if it had been stopped early: its last report is then its value for Optuna."""
    best = max(read_trials(run / "study.db"), key=lambda t: t.values[0])
    with closing(sqlite3.connect(run / "study.db")) as study, study:
        study.execute("UPDATE trials SET state = 'PRUNED' WHERE trial_id = ?", [best._trial_id])
