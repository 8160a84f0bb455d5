"""`convnas train`, in processes that are really killed, and its logs as TensorBoard reads them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from convnas.experiments.cli import main
from convnas.search_space import Architecture

Capture = pytest.CaptureFixture[str]
Write = Callable[..., str]

ARCH = {
    "backbone": "resnet-cifar",
    "input": [1, 8, 8],
    "classes": 10,
    "stages": [{"conv": "octave", "alpha": 0.5}, {"conv": "hetconv", "p": 4}, {"conv": "vanilla"}],
}


def test_killed_and_started_again_it_ends_with_the_same_bits(
    tmp_path: Path,
    write: Write,
    start: Callable[..., subprocess.Popen[str]],
    until: Callable[..., None],
    capsys: Capture,
) -> None:
    arch = write(ARCH, "arch.yaml")
    how = ["--epochs", "4", "-t", "mixup=0.2", "-t", "crop=1", "--device", "cpu"]
    killed, whole = tmp_path / "killed.pt", tmp_path / "whole.pt"
    checkpoint = tmp_path / "killed.pt.checkpoint"
    process = start("train", arch, *how, "-o", str(killed))
    until(checkpoint.exists, 120)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not killed.exists()
    assert main(["train", arch, *how, "-o", str(killed)]) == 0
    said = capsys.readouterr().err
    assert "going on after epoch" in said
    assert "epoch 4:" in said
    assert not checkpoint.exists()
    assert main(["train", arch, *how, "-o", str(whole)]) == 0
    one, other = (torch.load(path, weights_only=True) for path in (killed, whole))
    assert one["state_dict"].keys() == other["state_dict"].keys()
    for name, tensor in one["state_dict"].items():
        assert torch.equal(tensor, other["state_dict"][name]), name
    for each in (one, other):
        del each["info"]["metrics"]["seconds"]
    assert one["info"] == other["info"]


def test_a_checkpoint_of_another_recipe_is_refused_until_restarted(
    tmp_path: Path, write: Write, capsys: Capture
) -> None:
    from convnas.evaluators.training.checkpoint import Checkpoint

    arch = write(ARCH, "arch.yaml")
    left = tmp_path / "arch.pt.checkpoint"
    Checkpoint(left, {"architecture": "another one"}).save({})
    train = ["train", arch, "--epochs", "1", "--device", "cpu", "--no-tensorboard"]
    assert main(train) == 2
    said = capsys.readouterr().err
    assert len(said.splitlines()) == 1
    assert "another training: architecture 'another one'" in said
    assert main([*train, "--restart"]) == 0
    assert not left.exists()


def test_a_run_stands_for_its_winner(run: Path, capsys: Capture) -> None:
    assert main(["train", str(run), "--epochs", "1", "--json"]) == 0
    trained = json.loads(capsys.readouterr().out)
    best = Architecture.load(run / "best.yaml")
    assert Path(trained["file"]) == run / "weights" / f"{best.key}.pt"
    assert Path(trained["tensorboard"]) == run / "tensorboard" / f"train-{best.key}"


def test_a_config_gives_data_and_recipe_to_an_architecture_of_its_own(
    config: dict[str, Any], write: Write, tmp_path: Path
) -> None:
    config["training"] = {"epochs": 1, "label_smoothing": 0.2}
    config["data"] = {"name": "digits", "validation": 0.3}
    how = ["--config", write(config), "--no-tensorboard", "-t", "optimizer=adamw"]
    how += ["-t", "learning_rate=2e-3"]  # which YAML reads as text
    assert main(["train", write(ARCH, "arch.yaml"), *how]) == 0
    info = torch.load(tmp_path / "arch.pt", weights_only=True)["info"]
    assert info["training"]["epochs"] == 1
    assert info["training"]["label_smoothing"] == 0.2
    assert info["training"]["optimizer"] == "adamw"
    assert info["training"]["learning_rate"] == 0.002
    # 1,797 digits, in every class rounded by itself.
    assert info["data"]["sizes"]["validation"] == pytest.approx(0.3 * 1797, abs=10)


@pytest.mark.parametrize(
    ("how", "says"),
    [
        (["-t", "mixup"], "KEY=VALUE"),
        (["-t", "mixup=lots"], "training.mixup: 'lots' is not allowed; a number 0 or more"),
        (["-t", "mixup=[0"], "training.mixup"),
        (["-t", "momentum=0.9"], "training.momentum: this key is not allowed"),
        (["-t", "ema=1"], "training.ema: 1 is not allowed; a number 0 or more and below 1"),
        (["-t", "bf16=cpu"], "training.bf16: 'cpu' is not allowed; true or false, or always"),
        (["--config", "absent.yaml"], "absent.yaml"),
        (["--run", "absent"], "absent"),
    ],
)
def test_wrong_settings_are_one_line_and_exit_2(
    how: list[str], says: str, write: Write, tmp_path: Path, capsys: Capture
) -> None:
    arch = write(ARCH, "arch.yaml")
    assert main(["train", arch, "--no-tensorboard", *how]) == 2
    said = capsys.readouterr().err
    assert len(said.splitlines()) == 1
    assert says in said
    assert [path.name for path in tmp_path.iterdir()] == ["arch.yaml"]


def test_a_folder_without_a_run_is_refused(tmp_path: Path, capsys: Capture) -> None:
    assert main(["train", str(tmp_path)]) == 2
    assert "a folder that convnas launch has made" in capsys.readouterr().err


def test_the_curves_are_what_tensorboard_reads(write: Write, tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    arch = write(ARCH, "arch.yaml")
    how = ["--epochs", "2", "-t", "join=false", "--device", "cpu", "--tensorboard"]
    assert main(["train", arch, *how]) == 0
    read = accumulator.EventAccumulator(str(tmp_path / "arch.tensorboard")).Reload()
    metrics = torch.load(tmp_path / "arch.pt", weights_only=True)["info"]["metrics"]
    best = int(metrics["best_epoch"])
    for name in ("train_loss", "accuracy", "loss"):
        assert [event.step for event in read.Scalars(name)] == [1, 2]
        assert read.Scalars(name)[best - 1].value == pytest.approx(metrics[name])
    (tested,) = read.Scalars("test_accuracy")
    assert tested.value == pytest.approx(metrics["test_accuracy"])


def test_a_resumed_training_is_one_curve(tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    from convnas.experiments.export.training_log import TrainingLog

    first = TrainingLog(tmp_path)
    for epoch in (1, 2, 3):  # killed after logging epoch 3, before its checkpoint was there
        first.epoch(epoch, {"train_loss": float(epoch)})
    again = TrainingLog(tmp_path)
    again.resume(2)
    for epoch in (3, 4):
        again.epoch(epoch, {"train_loss": 10.0 * epoch})
    again.close({"test_accuracy": 0.5}, {"epochs": 4})
    read = accumulator.EventAccumulator(str(tmp_path)).Reload()
    seen = [(event.step, event.value) for event in read.Scalars("train_loss")]
    assert seen == [(1, 1.0), (2, 2.0), (3, 30.0), (4, 40.0)]


def test_without_tensorboard_there_is_a_note_or_where_it_was_asked_for_a_refusal(
    write: Write, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    train = ["train", write(ARCH, "arch.yaml"), "--epochs", "1", "--device", "cpu"]
    assert main([*train, "--tensorboard"]) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith("convnas: tensorboard: True is not allowed; it is not installed: pip")
    assert main(train) == 0
    assert capsys.readouterr().err.startswith("no TensorBoard logs; pip install")
    assert not (tmp_path / "arch.tensorboard").exists()
