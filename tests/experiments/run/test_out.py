"""What a command writes where it is told never costs a run anything."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from convnas.experiments.cli import main
from convnas.experiments.errors import RunError
from convnas.experiments.run.directory import KEPT, Lock, RunDirectory
from convnas.experiments.workers.pool import WorkerPool
from convnas.search_space import Architecture, InputError

Config = dict[str, Any]
Write = Callable[..., str]
Capture = pytest.CaptureFixture[str]
ARCH = "resnet-cifar 1x8x8 10: vanilla | vanilla | hetconv(p=4)"


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.mark.parametrize("name", [*(each for each in KEPT if "-" not in each), "other.db"])
@pytest.mark.parametrize(
    "command",
    [
        ["report", "RUN"],
        ["export", "RUN", "--format", "json"],
        ["train", "RUN", "--epochs", "1", "--no-tensorboard"],
        ["tune"],
    ],
    ids=lambda command: command[0],
)
def test_no_command_writes_over_what_a_run_lives_on(
    command: list[str], name: str, run: Path, capsys: Capture
) -> None:
    with sqlite3.connect(run / "other.db") as base:
        base.execute("create table t (x)")
    base.close()
    before = contents(run)
    words = [str(run) if word == "RUN" else word for word in command]
    assert main([*words, "-o", str(run / name)]) == 2
    assert "choose another name" in capsys.readouterr().err
    assert contents(run) == before


def test_a_comparison_does_not_go_into_a_run(run: Path, capsys: Capture) -> None:
    before = contents(run)
    config = str(run / "config.yaml")
    assert main(["compare", config, "--strategies", "tpe", "-o", str(run)]) == 2
    assert "a run of launch is there" in capsys.readouterr().err
    assert contents(run) == before


def test_wrong_input_that_shows_late_leaves_no_run_in_the_way(
    config: Config, write: Write, tmp_path: Path, capsys: Capture
) -> None:
    """That the data have ten classes is known once a worker has loaded them."""
    wrong = {**config, "space": {**config["space"], "classes": 9}}
    out = tmp_path / "runs" / "new"
    assert main(["launch", write(wrong), "-o", str(out), "--trials", "1"]) == 2
    assert "the data 'digits' has 10 classes" in capsys.readouterr().err
    assert not out.exists()
    good = {**config, "evaluator": {"name": "flops"}, "trials": 1}
    assert main(["launch", write(good), "-o", str(out)]) == 0
    # A run that has trials stays, whatever is wrong with what is asked of it now.
    before = contents(out)
    assert main(["launch", write(wrong), "-o", str(out)]) == 2
    assert contents(out).keys() == before.keys()
    assert contents(out)["study.db"] == before["study.db"]


def test_an_exported_network_is_not_trained_over_by_accident(
    write: Write, tmp_path: Path, capsys: Capture
) -> None:
    arch = tmp_path / "arch.yaml"
    Architecture.parse(ARCH).save(arch)
    train = ["train", str(arch), "--epochs", "1", "--device", "cpu", "--no-tensorboard"]
    assert main(train) == 0
    card = tmp_path / "arch.pt.md"
    card.write_text("test accuracy of these weights")
    before = contents(tmp_path)
    assert main([*train, "--seed", "3"]) == 2
    assert "a network lies there already" in capsys.readouterr().err
    assert contents(tmp_path) == before
    assert main([*train, "--seed", "3", "--restart"]) == 0
    assert "arch.pt.md is taken away" in capsys.readouterr().err
    assert not card.exists()
    assert (tmp_path / "arch.pt").read_bytes() != before["arch.pt"]


def test_the_winner_that_is_trained_is_the_study_s(run: Path, capsys: Capture) -> None:
    best = Architecture.load(run / "best.yaml")
    Architecture.parse(ARCH).save(run / "best.yaml")
    assert main(["train", str(run), "--epochs", "1", "--no-tensorboard"]) == 0
    assert f"{best.key}.pt" in capsys.readouterr().out


@pytest.mark.parametrize("form", ["py", "timm"])
def test_a_module_does_not_take_the_place_of_another(form: str, run: Path, capsys: Capture) -> None:
    assert main(["export", str(run), "--format", form, "-o", str(run / "torch.py")]) == 2
    assert "in place of the torch there is" in capsys.readouterr().err


def test_workers_that_cannot_even_import_are_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A torch.py in the way, where the process that starts them looks first."""
    (tmp_path / "torch.py").write_text("x = 1\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    def run() -> None:
        setup = {"device": "cpu", "evaluator": {"name": "proxy"}}
        with WorkerPool(["cpu"], setup, log=tmp_path / "log.txt") as pool:
            while True:
                pool.wait(10.0)

    with pytest.raises(RunError, match=r"workers do not start: .*log\.txt"):
        run()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
@pytest.mark.parametrize("more", [[], ["--json"]])
def test_an_output_that_is_full_is_one_line(more: list[str], run: Path) -> None:
    start = "from convnas.experiments.cli import entry_point; entry_point()"
    argv = [sys.executable, "-c", start, "status", str(run), *more]
    with open("/dev/full", "w") as full:
        done = subprocess.run(argv, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("convnas: what was to be written has no room")
    assert done.stderr.count("\n") == 1


def test_a_batch_that_no_memory_holds_is_wrong_input(tmp_path: Path, capsys: Capture) -> None:
    Architecture.parse(ARCH).save(tmp_path / "arch.yaml")
    argv = ["cost", str(tmp_path / "arch.yaml"), "--latency", "--batch", str(10**12)]
    assert main(argv) == 2
    assert "batch: 1000000000000 is not allowed; it must fit the memory" in capsys.readouterr().err


def test_what_is_discarded_is_a_run_s_own_and_nothing_else(run: Path) -> None:
    (run / "nni" / "log").mkdir(parents=True)
    (run / "notes.txt").write_text("mine")
    before = sorted(run.rglob("*"))
    RunDirectory(run).discard()
    assert sorted(run.rglob("*")) == before
    for name in ("notes.txt", "best.yaml"):
        (run / name).unlink(missing_ok=True)
    RunDirectory(run).discard()
    assert not run.exists()


def test_a_lock_on_a_run_that_was_discarded_meanwhile_is_no_lock(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def taken_away(lock: Lock) -> None:
        (run / ".lock").unlink()

    monkeypatch.setattr(Lock, "_take", taken_away)
    with pytest.raises(InputError, match="another launch is using it"), Lock(RunDirectory(run)):
        pytest.fail("it was locked")
