"""A run's directory may be called anything that a file system lets it be called."""

from __future__ import annotations

import string
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState, create_trial

from convnas.experiments.cli import main
from convnas.experiments.config.sections import ALONE
from convnas.experiments.run import study as records

SPECIAL = "n_%2e%41 ?mode=memory&x#y {SCHEMA_VERSION} ~'\"`$(id)*[b];|<>\\!^=+,@é漢"
"""SQLite's address, Optuna's format string, a shell, markup and HTML each read something in it."""


def files_below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


PRINTABLE = string.printable.replace("/", "")
TENS = [PRINTABLE[i : i + 10] for i in range(0, len(PRINTABLE), 10)]


@pytest.mark.parametrize("name", [*TENS, "%2e%41", "a?b=c", "a#b", ":memory:", SPECIAL])
def test_a_study_lies_where_its_path_says_and_nowhere_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = Path(name)
    folder.mkdir()
    path = folder / "study.db"
    records.create_study(path, "mine", ALONE)
    assert files_below(tmp_path) == {str(path)}
    storage = records.open_storage(path)
    ended = create_trial(state=TrialState.FAIL, user_attrs={"reason": name})
    records.study_at(storage, path).add_trial(ended)
    records.write_quickly(storage)
    records.close(storage)
    assert records.reasons(records.read_trials(path)) == {name: 1}
    read_only = records.open_to_read(path)
    assert records.reasons(records.open_study(read_only).trials) == {name: 1}
    with pytest.raises(optuna.exceptions.StorageInternalError):
        records.open_study(read_only).set_user_attr("written", True)
    read_only.engine.dispose()
    assert files_below(tmp_path) == {str(path)}


def test_every_command_takes_such_a_run(
    scripted: dict[str, Any],
    write: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Any,
) -> None:
    config = write({**scripted, "trials": 2})
    monkeypatch.chdir(tmp_path)
    before = files_below(tmp_path)
    assert main(["launch", config, "-o", SPECIAL]) == 0
    assert main(["launch", "-o", SPECIAL, "--trials", "3"]) == 0
    assert '"complete": 3' in (main(["status", SPECIAL, "--json"]), capsys.readouterr().out)[1]
    assert main(["status", SPECIAL]) == 0
    assert main(["export", SPECIAL, "--format", "py"]) == 0
    assert main(["report", SPECIAL]) == 0
    assert f"written: {SPECIAL}/report.html" in capsys.readouterr().out
    assert all(name.startswith(SPECIAL) for name in files_below(tmp_path) - before - {"record.txt"})


@pytest.mark.parametrize(
    "argv",
    [
        ["launch", "-o", "LONG"],
        ["launch", "LONG"],
        ["status", "LONG"],
        ["report", "LONG"],
        ["export", "LONG"],
        ["train", "LONG"],
        ["worker", "LONG"],
        ["dashboard", "LONG"],
        ["track", "LONG", "--to", "tensorboard"],
        ["tabulate", "CONFIG", "-o", "LONG"],
        ["latency", "CONFIG", "-o", "LONG"],
        ["compare", "CONFIG", "--strategies", "random", "-o", "LONG"],
        ["report", "RUN", "-o", "LONG"],
        ["export", "RUN", "-o", "LONG"],
        ["train", "RUN/best.yaml", "-o", "LONG"],
    ],
    ids=lambda argv: " ".join(argv),
)
def test_a_name_too_long_is_one_line(
    run: Path,
    config: Any,
    write: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Any,
    argv: list[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    words = {"LONG": "a" * 300, "CONFIG": write(config), "RUN": str(run)}
    before = files_below(tmp_path)
    argv = [words.get(word, word.replace("RUN/", f"{run}/")) for word in argv]
    assert main(argv) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert files_below(tmp_path) == before
