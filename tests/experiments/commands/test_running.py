"""What people are told of a run that was killed, or that has all it was asked for, and of paths."""

from __future__ import annotations

import os

import numpy as np
import optuna

from convnas.experiments.cli import main
from convnas.experiments.config.schema import parse_config


def test_a_killed_run_says_what_is_to_be_taken_up_again(run, capsys) -> None:
    storage = optuna.storages.RDBStorage(f"sqlite:///{run / 'study.db'}")
    study = optuna.load_study(study_name="small", storage=storage)
    study.ask()
    study.ask()
    storage.engine.dispose()
    assert main(["status", str(run)]) == 0
    assert "running 0, 2 to be taken up again" in capsys.readouterr().out


def test_fewer_trials_than_there_are_leave_nothing_to_do(run, capsys) -> None:
    assert main(["launch", "-o", str(run), "--trials", "3"]) == 0
    said = "nothing was left to do: it has 6 trials, 3 were asked for in all"
    assert said in capsys.readouterr().out


def test_paths_are_meant_from_the_config_s_folder(config, write, tmp_path, monkeypatch) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    arrays = {"x": np.zeros((40, 8, 8), np.uint8), "y": np.arange(40) % 10}
    np.savez(tmp_path / "mine" / "d.npz", **arrays)
    config["data"] = {"name": "npz", "path": "d.npz"}
    path = write(config, "mine/config.yaml")
    found = parse_config(path).data["path"]
    assert os.path.samefile(found, tmp_path / "mine" / "d.npz")
    # What lies under the current folder alone is found as before.
    os.rename(tmp_path / "mine" / "d.npz", "d.npz")
    assert parse_config(path).data["path"] == "d.npz"


def test_a_missing_path_is_shown_whole(config, write, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    config["data"] = {"name": "npz", "path": "absent.npz"}
    assert main(["launch", write(config), "-o", "run"]) == 2
    assert str(tmp_path / "absent.npz") in capsys.readouterr().err


def test_space_refuses_the_data_that_a_launch_would(
    config, write, tmp_path, monkeypatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    absent = write({**config, "data": {"name": "npz", "path": "absent.npz"}}, "absent.yaml")
    assert main(["space", absent]) == 2
    assert str(tmp_path / "absent.npz") in capsys.readouterr().err
    assert main(["space", absent, "--no-data", "--json"]) == 0
    np.savez("few.npz", x=np.zeros((40, 8, 8), np.uint8), y=np.arange(40) % 4)
    few = write({**config, "data": {"name": "npz", "path": "few.npz"}}, "few.yaml")
    capsys.readouterr()
    assert main(["space", few]) == 2
    err = capsys.readouterr().err
    assert "space.classes: 10 is not allowed; the data 'npz' has 4 classes" in err
    assert err.count("\n") == 1
    named = write({**config, "objectives": ["recall_ten"]}, "named.yaml")
    assert main(["space", named]) == 2
    assert "'recall_ten' is not allowed; classes: 0, 1, 2" in capsys.readouterr().err


def test_a_launch_says_what_its_final_choice_costs_and_can_leave_it_out(
    scripted, write, tmp_path, capsys
) -> None:
    path = write({**scripted, "final": {"top": 5, "seeds": 3}})
    launch = ["launch", path, "--trials", "3", "-o"]
    assert main([*launch, str(tmp_path / "with")]) == 0
    # Of three trials the best three, three seeds each.
    said = "the best 3 are trained with 3 new seeds each, 9 trainings (--no-final"
    err = capsys.readouterr().err
    assert said in err
    assert "9/9  final choice" in err
    record = tmp_path / "record.txt"
    assert len(record.read_text().splitlines()) == 3 + 9
    assert main([*launch, str(tmp_path / "without"), "--no-final"]) == 0
    assert "final choice" not in capsys.readouterr().err
    assert len(record.read_text().splitlines()) == 3 + 9 + 3
    kept = parse_config(tmp_path / "without" / "config.yaml").final
    assert (kept.top, kept.seeds) == (0, 3)
