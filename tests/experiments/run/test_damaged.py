"""A study.db of somebody else's, or one that was damaged: one line that names what is wrong."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest

from convnas.experiments.cli import main
from convnas.experiments.run import study as records
from convnas.search_space import InputError

Capture = pytest.CaptureFixture[str]

COMMANDS = (
    ["status", "RUN"],
    ["status", "RUN", "--json"],
    ["report", "RUN"],
    ["export", "RUN"],
    ["launch", "-o", "RUN", "--trials", "8"],
    ["train", "RUN"],
    ["dashboard", "RUN", "--port", "18951"],
    ["dashboard", "RUN", "--nni", "--port", "18951"],
    ["track", "RUN", "--to", "tensorboard"],
)


def refused(run: Path, capsys: Capture, words: str, commands: Any = COMMANDS) -> None:
    before = (run / "study.db").read_bytes()
    for command in commands:
        argv = [str(run) if word == "RUN" else word for word in command]
        assert main(argv) == 2, argv
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("convnas: ")
        assert words in line
    assert (run / "study.db").read_bytes() == before


def somebody_elses(path: Path) -> None:
    path.unlink(missing_ok=True)
    study = optuna.create_study(storage=f"sqlite:///{path}", study_name="theirs")
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=3)


def change(run: Path, statement: str, *values: object) -> None:
    with sqlite3.connect(run / "study.db") as base:
        assert base.execute(statement, values).rowcount == 1
    base.close()


def set_attribute(run: Path, trial: int, name: str, text: str) -> None:
    change(
        run,
        "update trial_user_attributes set value_json = ? where key = ? and trial_id ="
        " (select trial_id from trials where number = ? and study_id = 1)",
        text,
        name,
        trial,
    )


def test_a_study_that_optuna_made_for_somebody_else(run: Path, capsys: Capture) -> None:
    somebody_elses(run / "study.db")
    refused(run, capsys, "'theirs' in it is not one that convnas launch has made")


def test_the_tuner_of_an_nni_that_its_user_started(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from convnas.experiments.nni_backend.tuner.standalone import StandaloneHost

    monkeypatch.chdir(run)  # the host goes to the config's folder
    set_attribute(run, 3, "key", "7")
    config = str((run / "config.yaml").absolute())
    with pytest.raises(InputError, match="trial 3 is damaged: its key is 7"):
        StandaloneHost("ws://localhost:8080/tuner").open(config, str(run.absolute()))


def test_an_empty_study_of_somebody_elses_with_other_objectives(run: Path, capsys: Capture) -> None:
    (run / "study.db").unlink()
    optuna.create_study(storage=f"sqlite:///{run}/study.db", directions=["minimize", "minimize"])
    refused(run, capsys, "not the objectives accuracy", [["launch", "-o", "RUN"]])


@pytest.mark.parametrize("content", [b"", b"no database", b"SQLite format 3\x00" + bytes(4000)])
def test_what_is_no_study_at_all(run: Path, capsys: Capture, content: bytes) -> None:
    (run / "study.db").write_bytes(content)
    refused(
        run,
        capsys,
        "it is not a study that Optuna can read",
        [["status", "RUN"], ["launch", "-o", "RUN"]],
    )


@pytest.mark.parametrize(
    ("table", "column"), [("trial_user_attributes", "key"), ("trial_params", "param_name")]
)
@pytest.mark.parametrize("name", [b"", None, b"key"])
def test_a_name_that_is_no_text_is_damage(
    run: Path, capsys: Capture, table: str, column: str, name: bytes | None
) -> None:
    change(
        run, f"update {table} set {column} = ? where rowid = (select max(rowid) from {table})", name
    )
    words = f"is damaged: a name in it is {name!r}, not text"
    refused(run, capsys, words, [["status", "RUN"], ["launch", "-o", "RUN"]])


def test_the_damaged_trial_is_named_by_every_command(run: Path, capsys: Capture) -> None:
    set_attribute(run, 3, "flops", "{no JSON")
    refused(run, capsys, "trial 3 cannot be read: JSONDecodeError")


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("key", 7, "its key is 7, not text"),
        ("flops", "many", "its flops is 'many', not a whole number"),
        ("params", None, "its params is None"),
        ("score", float("inf"), "its score is inf, not a finite number"),
        ("curve", {"1": 0.5}, "its curve is"),
        ("values", ["x"], "its values is ['x'], not finite numbers"),
        ("pruned", 0, "its pruned is 0, not true or false"),
        ("architecture", "resnet", "its architecture cannot be read"),
        ("architecture", {"backbone": "resnet-cifar"}, "its architecture cannot be read"),
    ],
)
def test_an_attribute_of_another_kind(run: Path, name: str, value: object, words: str) -> None:
    set_attribute(run, 2, name, json.dumps(value))
    with pytest.raises(InputError, match="trial 2 is damaged") as caught:
        records.read_trials(run / "study.db")
    assert words in str(caught.value)


def drop_flops(run: Path) -> None:
    change(run, "delete from trial_user_attributes where key = 'flops' and trial_id = 3")


def infinite_value(run: Path) -> None:
    change(run, "update trial_values set value_type = 'INF_POS', value = null where trial_id = 3")


def value_of_no_kind(run: Path) -> None:
    change(run, "update trial_values set value_type = 'HUGE' where trial_id = 3")


def state_of_no_kind(run: Path) -> None:
    change(run, "update trials set state = 'LOST' where trial_id = 3")


def no_date(run: Path) -> None:
    change(run, "update trials set datetime_start = 'yesterday' where trial_id = 3")


def infinite_option(run: Path) -> None:
    change(
        run,
        "update trial_params set param_value = 9e999 where param_name = 'stage1' and trial_id = 3",
    )


def option_beyond(run: Path) -> None:
    change(
        run,
        "update trial_params set param_value = 99 where param_name = 'stage1' and trial_id = 3",
    )


def no_distribution(run: Path) -> None:
    change(
        run,
        "update trial_params set distribution_json = '[]' where param_name = 'stage1'"
        " and trial_id = 3",
    )


@pytest.mark.parametrize(
    "damage",
    [
        drop_flops,
        infinite_value,
        value_of_no_kind,
        state_of_no_kind,
        no_date,
        infinite_option,
        option_beyond,
        no_distribution,
    ],
)
def test_other_damage_to_one_trial(run: Path, damage: Callable[[Path], None]) -> None:
    damage(run)
    with pytest.raises(InputError, match=r"trial 2 (is damaged|cannot be read)"):
        records.read_trials(run / "study.db")


def test_what_the_study_says_of_itself(run: Path, capsys: Capture) -> None:
    change(
        run, "update study_system_attributes set value_json = '{' where key = 'study:metric_names'"
    )
    refused(
        run,
        capsys,
        "study.db: this file is not allowed",
        [["status", "RUN"], ["launch", "-o", "RUN"]],
    )


def test_a_final_choice_that_is_damaged(run: Path, capsys: Capture) -> None:
    final = optuna.create_study(
        storage=f"sqlite:///{run}/study.db", study_name="small (final)", direction="maximize"
    )
    final.add_trial(optuna.trial.create_trial(value=0.5))
    refused(run, capsys, "trial 0 is damaged: it has no architecture", COMMANDS[:3])


def test_a_scored_trial_without_what_must_come_with_it(run: Path) -> None:
    change(run, "update trials set state = 'RUNNING' where trial_id = 3")
    change(run, "delete from trial_user_attributes where key = 'values' and trial_id = 3")
    with pytest.raises(InputError, match="trial 2 is damaged: it has a score"):
        records.read_trials(run / "study.db")


def test_a_name_that_differs_from_its_index_is_named(run, capsys) -> None:
    path = run / "study.db"
    content = path.read_bytes()
    # An entry of SQLite's index: text of five letters, then the row number 1, which takes no byte.
    entry = b"\x17\tsmall"
    assert content.count(entry) == 1
    path.write_bytes(content.replace(entry, b"\x17\t=mall"))
    refused(run, capsys, "its index has no study", COMMANDS[:3])
