"""Recorded steps against eager ones, on a stand-in for a GPU's graphs (see fake_device)."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from convnas import Architecture, Choice, HetConv2d, build_network
from convnas.evaluators import Split, TrainingSettings, load_data, measure, seeded, train_network
from convnas.evaluators.training.capture import recorded
from convnas.evaluators.training.checkpoint import Checkpoint
from convnas.evaluators.training.validation import Validation

from ..fake_device import FakeRecorder

CPU = torch.device("cpu")
ARCH = Architecture(
    "resnet-cifar",
    (1, 8, 8),
    10,
    (Choice("octave", alpha=0.5), Choice("hetconv", p=4), Choice("res2net", scales=4)),
)
RECIPES = {
    "sgd": {},
    "adamw": {"optimizer": "adamw"},
    "everything": {"flip": True, "crop": 1, "cutout": 2, "mixup": 0.2, "ema": 0.9},
    "bf16": {"bf16": "always"},
}


@pytest.fixture(autouse=True)
def as_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a CPU HetConv compares its weights with those it laid out last; a GPU would wait."""
    monkeypatch.setattr(HetConv2d, "_laid_out", HetConv2d._lay_out)


@pytest.fixture(scope="module")
def data():
    loaded = load_data({"name": "digits"}, seed=0, input=(1, 8, 8), classes=10).search
    return loaded.train.part(torch.arange(150)), loaded.validation.part(torch.arange(70))


def trained(data, recorder, *, dropout=False, epochs=2, keeper=None, report=None, **settings):
    with seeded(0, CPU):
        net = build_network(ARCH)
        if dropout:
            net = nn.Sequential(net, nn.Dropout(0.5))
        history = train_network(
            net,
            *data,
            TrainingSettings(epochs=epochs, batch_size=50, **settings),
            seed=3,
            device=CPU,
            recorder=recorder,
            keeper=keeper,
            **({"report": report} if report else {}),
        )
    return history, net.state_dict()


def same(one, other):
    return all(torch.equal(tensor, other[name]) for name, tensor in one.items())


@pytest.mark.parametrize("recipe", RECIPES)
def test_recorded_steps_train_to_the_bits_of_eager_ones(data, recipe):
    recorder = FakeRecorder()
    eager, weights = trained(data, None, **RECIPES[recipe])
    history, replayed = trained(data, recorder, **RECIPES[recipe])
    assert same(weights, replayed)
    assert len(recorder.recordings) == 2  # a step, and a batch of the validation
    assert not recorder.broken
    for one, other in zip(history.epochs, eager.epochs, strict=True):
        assert one["train_loss"] == other["train_loss"]
        assert one["accuracy"] == other["accuracy"]
        # 70 examples: 50 and 20 eagerly, 35 and 35 recorded; sums are rounded elsewhere.
        assert one["loss"] == pytest.approx(other["loss"], rel=1e-2 if "bf16" in recipe else 1e-5)


def test_layers_that_draw_numbers_draw_new_ones_in_every_replay(data):
    eager, weights = trained(data, None, dropout=True)
    history, replayed = trained(data, FakeRecorder(), dropout=True)
    assert same(weights, replayed)
    assert history.epochs[-1]["train_loss"] == eager.epochs[-1]["train_loss"]


def test_an_epoch_is_one_replay_a_step_and_one_a_batch_of_validation(data):
    recorder = FakeRecorder()
    trained(data, recorder, epochs=4)
    tried = 2 + 2  # what shows that a recording works
    assert recorder.replays == tried + 4 * (150 // 50 + 2)


def test_a_training_that_was_interrupted_goes_on_recorded_to_the_same_bits(
    data, tmp_path: Path
) -> None:
    class Killed(BaseException):
        pass

    def killed(epoch, metrics):
        raise Killed

    how = {"optimizer": "adamw", "crop": 1, "ema": 0.9}
    _, whole = trained(data, FakeRecorder(), **how)
    kept = Checkpoint(tmp_path / "checkpoint", {})
    with pytest.raises(Killed):
        trained(data, FakeRecorder(), keeper=kept, report=killed, **how)
    recorder = FakeRecorder()
    _, resumed = trained(data, recorder, keeper=kept, **how)
    assert recorder.replays
    assert same(whole, resumed)


class Refusing(FakeRecorder):
    def record(self, run, generators):
        raise RuntimeError("operation not permitted when stream is capturing")


class OnAnotherDevice(FakeRecorder):
    """A graph of the wrong device: empty, it replays nothing."""

    def record(self, run, generators):
        return lambda: None


@pytest.mark.parametrize(
    "recorder", [Refusing(), OnAnotherDevice()], ids=lambda r: type(r).__name__
)
def test_without_a_recording_that_works_the_training_is_the_eager_one_and_the_device_suspect(
    data, recorder, caplog
):
    _, weights = trained(data, None, crop=1)
    _, instead = trained(data, recorder, crop=1)
    assert same(weights, instead)
    assert recorder.broken
    assert "no CUDA graph" in caplog.text


def test_a_recording_that_always_sees_the_same_batch_is_found_out(caplog):
    class Stuck(FakeRecorder):
        def record(self, run, generators):
            replay = super().record(run, generators)
            return lambda: (place.zero_(), replay())

    losses, place, total = (
        torch.tensor([2.0, 3.0]),
        torch.zeros(1, dtype=torch.int64),
        torch.zeros(1),
    )

    def run():
        total.add_(losses.index_select(0, place))
        place.add_(1)

    def begin():
        place.zero_()
        total.zero_()

    for recorder, works in ((FakeRecorder(), True), (Stuck(), False)):
        with recorder.current():
            found = recorded(run, recorder, begin=begin, rewind=begin, loss=total, differs=True)
        assert (found is not None) == works == (not recorder.broken)
    assert "two replays on different data give the same loss" in caplog.text


def test_memory_that_runs_out_while_recording_is_told_and_not_swallowed(data):
    class Full(FakeRecorder):
        def record(self, run, generators):
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.50 GiB.")

    recorder = Full()
    with pytest.raises(torch.cuda.OutOfMemoryError):
        trained(data, recorder)
    assert recorder.broken


@pytest.mark.parametrize("off", ["cuda_graph", "fused"])
def test_nothing_is_recorded_where_the_settings_say_so(data, off):
    recorder = FakeRecorder()
    trained(data, recorder, epochs=1, **{off: False})
    assert recorder.recordings == []


def test_a_validation_that_is_filled_up_counts_nobody_twice():
    split = Split(torch.randn(23, 1, 2, 2), torch.arange(23) % 3)
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
    settings = TrainingSettings(batch_size=10)
    recorder = FakeRecorder()
    with recorder.current():
        accuracy, loss = Validation(net, split, settings, recorder=recorder)()
    expected = measure(net, split, settings)
    assert recorder.recordings
    assert accuracy == expected[0]
    assert loss == pytest.approx(expected[1], rel=1e-5)


def test_a_recorded_validation_follows_the_weights():
    split = Split(torch.randn(20, 1, 2, 2), torch.arange(20) % 3)
    layer = nn.Linear(4, 3)
    net = nn.Sequential(nn.Flatten(), layer)
    settings = TrainingSettings(batch_size=10)
    recorder = FakeRecorder()
    with recorder.current():
        validation = Validation(net, split, settings, recorder=recorder)
        validation()
        with torch.no_grad():
            layer.weight.mul_(-3)
        assert validation()[1] == pytest.approx(measure(net, split, settings)[1], rel=1e-5)
