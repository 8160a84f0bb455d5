"""Trainings that end in the middle go on to the same bits; other checkpoints are refused."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest
import torch

from convnas.evaluators import load_data, measure, retrain
from convnas.evaluators.retrain import RetrainSettings
from convnas.evaluators.training.checkpoint import Checkpoint
from convnas.search_space import Architecture, InputError, build_network

ARCH = Architecture.from_dict(
    {
        "backbone": "resnet-cifar",
        "input": [1, 8, 8],
        "classes": 10,
        "stages": [
            {"conv": "octave", "alpha": 0.5},
            {"conv": "hetconv", "p": 4},
            {"conv": "res2net", "scales": 4},
        ],
    }
)
DIGITS = {"name": "digits"}
FULL = {"crop": 1, "flip": True, "cutout": 2, "mixup": 0.2}


class Killed(BaseException):
    pass


def killed_after(epoch):
    def report(number, metrics):
        if number == epoch:
            raise Killed
        return False

    return report


def listening(heard):
    def report(number, metrics):
        heard.append(dict(metrics))
        return False

    return report


@pytest.mark.parametrize(
    "settings",
    [{}, FULL | {"join": False, "optimizer": "adamw"}, {"ema": 0.0, "bf16": "always"}],
    ids=["default", "full", "bf16"],
)
def test_an_interrupted_training_ends_with_the_bits_of_an_uninterrupted_one(settings, tmp_path):
    settings = {"epochs": 3, "batch_size": 256} | settings
    kept = {"device": "cpu", "seed": 1, "split_seed": 0}
    whole = retrain(ARCH, DIGITS, settings, **kept)
    path = tmp_path / "checkpoint"
    for epoch in (1, 2):
        with pytest.raises(Killed):
            retrain(ARCH, DIGITS, settings, **kept, checkpoint=path, report=killed_after(epoch))
    told: list[int] = []
    heard: list[dict[str, float]] = []
    resumed = retrain(
        ARCH,
        DIGITS,
        settings,
        **kept,
        checkpoint=path,
        resumed=told.append,
        report=listening(heard),
    )
    assert (told, len(heard)) == ([2], 1)
    for name, tensor in whole.network.state_dict().items():
        assert torch.equal(tensor, resumed.network.state_dict()[name]), name
    without_seconds = [{**t.metrics, "seconds": 0} for t in (whole, resumed)]
    assert without_seconds[0] == without_seconds[1]


def test_apart_the_network_of_the_best_validation_is_kept():
    curve: list[dict[str, float]] = []
    settings = {"epochs": 6, "join": False, "learning_rate": 1.0, "ema": 0.0, "batch_size": 256}
    trained = retrain(
        ARCH,
        DIGITS,
        settings,
        device="cpu",
        report=listening(curve),
    )
    best = max(range(6), key=lambda i: (curve[i]["accuracy"], -curve[i]["loss"]))
    assert trained.metrics["best_epoch"] == best + 1
    data = load_data(DIGITS, seed=0, input=(1, 8, 8), classes=10)
    accuracy, loss = measure(
        trained.network, data.search.validation, RetrainSettings(channels_last=False)
    )
    assert accuracy == curve[best]["accuracy"] == max(each["accuracy"] for each in curve)
    assert loss == pytest.approx(curve[best]["loss"], rel=1e-4)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> bytes:
    path = tmp_path_factory.mktemp("left") / "checkpoint"
    with pytest.raises(Killed):
        retrain(ARCH, DIGITS, {"epochs": 2}, device="cpu", checkpoint=path, report=killed_after(1))
    return path.read_bytes()


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"training": {"epochs": 3}}, "training epochs 2, not 3"),
        ({"training": {"epochs": 2, "mixup": 0.1}}, "training mixup 0.0, not 0.1"),
        ({"seed": 1}, "seed 0, not 1"),
        ({"split_seed": 5}, "data .* not"),
        (
            {
                "arch": Architecture.from_dict(
                    ARCH.to_dict() | {"stages": [{"conv": "vanilla"}] * 3}
                )
            },
            "architecture",
        ),
    ],
)
def test_a_checkpoint_of_another_training_is_refused_with_the_difference(
    checkpoint, tmp_path, changed, says
):
    path = tmp_path / "checkpoint"
    path.write_bytes(checkpoint)
    wanted = {"arch": ARCH, "data": DIGITS, "training": {"epochs": 2}} | changed
    with pytest.raises(InputError, match=f"another training: {says}") as refused:
        retrain(**wanted, device="cpu", checkpoint=path)
    assert str(path) == refused.value.key
    assert path.read_bytes() == checkpoint


class Bomb:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


def test_damaged_and_foreign_files_are_refused_and_nothing_in_them_runs(checkpoint, tmp_path):
    path, bomb = tmp_path / "checkpoint", tmp_path / "exploded"
    network = tmp_path / "network.pt"
    torch.save(build_network(ARCH).state_dict(), network)
    torch.save({"convnas_checkpoint": 1, "identity": Bomb(bomb)}, tmp_path / "bomb")
    contents = [
        b"",
        b"not a checkpoint",
        checkpoint[: len(checkpoint) // 2],
        pickle.dumps(Bomb(bomb)),
        network.read_bytes(),
        (tmp_path / "bomb").read_bytes(),
    ]
    for content in contents:
        path.write_bytes(content)
        with pytest.raises(InputError, match="checkpoint"):
            retrain(ARCH, DIGITS, {"epochs": 2}, device="cpu", checkpoint=path)
    assert not bomb.exists()


def test_the_old_state_stays_where_a_new_one_cannot_be_written(tmp_path, monkeypatch):
    kept = Checkpoint(tmp_path / "checkpoint", {"of": 1})
    kept.save({"epoch": 1})

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        kept.save({"epoch": 2})
    assert kept.load() == {"epoch": 1}
    assert [path.name for path in Path(tmp_path).iterdir()] == ["checkpoint"]
