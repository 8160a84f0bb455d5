from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from convnas import __version__
from convnas.experiments.cli import main

Config = dict[str, Any]
Capture = pytest.CaptureFixture[str]

VANILLA = {
    "backbone": "resnet-cifar",
    "input": [1, 8, 8],
    "classes": 10,
    "stages": [{"conv": "vanilla"}] * 3,
}


def test_help_and_version_are_good(capsys: Capture) -> None:
    assert main([]) == 0
    assert main(["--help"]) == 0
    assert "launch" in capsys.readouterr().out
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"convnas {__version__}\n"
    for command in ("launch", "space", "cost", "train", "status", "export"):
        assert main([command, "--help"]) == 0


def test_help_needs_neither_torch_nor_optuna() -> None:
    code = (
        "import sys; from convnas.experiments.cli import main; main(['launch', '--help']);"
        "assert not {'torch', 'optuna', 'pydantic', 'rich.progress'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


@pytest.mark.parametrize(
    "argv",
    [
        ["lunch"],
        ["launch", "--trial"],
        ["launch", "--trials", "many"],
        ["launch", "--trials", "0"],
        ["launch", "--workers", "few"],
        ["launch", "--budget", "40Q"],
        ["launch", "--strategy", "tpf"],
        ["launch", "--seed", "-1"],
        ["launch", "--device", "tpu"],
        ["launch", "absent.yaml"],
        ["space"],
        ["space", "absent.yaml"],
        ["cost", "absent.yaml"],
        ["train", "absent.yaml"],
        ["status", "absent"],
        ["export", "absent"],
        ["export", "absent", "--top", "0"],
        ["export", "absent", "--format", "docx"],
    ],
)
def test_wrong_arguments_are_one_line_and_exit_2(
    argv: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(argv) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert len(said.err.splitlines()) == 1
    assert argv[-1].lstrip("-")[:4] in said.err or argv == ["space"]
    assert list(tmp_path.iterdir()) == []


def test_an_infeasible_budget_names_the_cheapest_in_space_and_launch(
    config: Config, write: Callable[..., str], tmp_path: Path, capsys: Capture
) -> None:
    path = write({**config, "budget": {"flops": "10K"}})
    for argv in (["space", path], ["launch", path, "-o", str(tmp_path / "run")]):
        assert main(argv) == 2
        err = capsys.readouterr().err
        assert len(err.splitlines()) == 1
        assert "budget.flops" in err
        assert "cheapest" in err
    assert not (tmp_path / "run").exists()


def test_space_counts(config: Config, write: Callable[..., str], capsys: Capture) -> None:
    path = write({**config, "budget": {}})
    assert main(["space", path, "--json"]) == 0
    counted = json.loads(capsys.readouterr().out)
    assert (counted["size"], counted["feasible"]) == (125, 125)
    # The vanilla network is the dearest: every other choice only saves.
    assert 0 < counted["flops"]["min"] < counted["flops"]["max"] == 1_256_960
    assert sum(counted["histogram"]["shares"]) == pytest.approx(1)
    for labels in counted["effects"].values():
        assert labels["vanilla"] == max(labels.values()) > 0
    assert main(["space", path]) == 0
    said = capsys.readouterr().out
    assert "125 architectures" in said
    assert "flops above the mean" in said


def test_cost_counts_the_whole_as_the_sum_of_its_parts(
    write: Callable[..., str], capsys: Capture
) -> None:
    path = write(VANILLA)
    assert main(["cost", path, "--json"]) == 0
    counted = json.loads(capsys.readouterr().out)
    assert len(counted["stages"]) == 3
    parts = [counted["stem"], *counted["stages"], counted["head"]]
    assert counted["flops"] == sum(part["flops"] for part in parts) == 1_256_960
    assert main(["cost", path]) == 0
    assert "1,256,960" in capsys.readouterr().out


def test_an_architecture_that_cannot_be_built_is_refused(
    write: Callable[..., str], capsys: Capture
) -> None:
    stages = [{"conv": "res2net", "scales": 3}, *VANILLA["stages"][1:]]
    assert main(["cost", write({**VANILLA, "stages": stages})]) == 2
    err = capsys.readouterr().err
    assert "scales" in err
    assert "3" in err
    assert len(err.splitlines()) == 1


def test_launch_status_and_export_speak_of_the_same_run(
    scripted: Config, write: Callable[..., str], tmp_path: Path, capsys: Capture
) -> None:
    run = str(tmp_path / "run")
    assert main(["launch", write(scripted), "-o", run, "--json"]) == 0
    launched = json.loads(capsys.readouterr().out)
    assert launched["trials"] == {"complete": 6, "pruned": 0, "failed": 0, "running": 0}
    assert launched["ending"] == "done"
    assert main(["status", run, "--json"]) == 0
    state = json.loads(capsys.readouterr().out)
    assert state["best"] == launched["best"]
    assert state["workers"] == []
    assert main(["export", run, "--format", "json", "--json"]) == 0
    (exported,) = json.loads(capsys.readouterr().out)
    assert json.loads(Path(exported["file"]).read_text()) == state["best"]["architecture"]


def test_the_closing_table_and_status_are_for_people(run: Path, capsys: Capture) -> None:
    assert main(["launch", "-o", str(run), "--trials", "8"]) == 0
    said = capsys.readouterr()
    assert "accuracy" in said.out
    assert f"next: convnas export {run}" in said.out
    assert [line.split()[0] for line in said.err.splitlines()] == ["7/8", "8/8"]
    assert main(["status", str(run)]) == 0
    assert "complete 8" in capsys.readouterr().out


@pytest.mark.parametrize("content", [b"", b"not a database", None])
def test_a_study_that_is_damaged_or_gone_is_refused(
    run: Path, capsys: Capture, content: bytes | None
) -> None:
    (run / "study.db").unlink()
    if content is not None:
        (run / "study.db").write_bytes(content)
    for argv in (["status", str(run)], ["export", str(run)]):
        assert main(argv) == 2
        err = capsys.readouterr().err
        assert len(err.splitlines()) == 1
        assert "study.db" in err
