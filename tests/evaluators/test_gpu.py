"""The fast path on a GPU: every switch, the graph against plain steps, repeats to the last bit."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from convnas import evaluators
from convnas.evaluators import EvaluationError
from convnas.evaluators.training.step import TrainingStep
from convnas.search_space import Architecture, Choice

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]
ARCH = Architecture(
    "resnet-cifar",
    (1, 8, 8),
    10,
    (Choice("octave", alpha=0.5), Choice("hetconv", p=4), Choice("res2net", scales=4)),
)
EXACT = {"bf16": False, "cuda_graph": False, "benchmark": False, "deterministic": True}
PASSES = TrainingStep._gradients
SWITCHES = ("uint8", "channels_last", "bf16", "fused", "cuda_graph", "benchmark")


def make(device="cuda", **settings):
    return evaluators.create(
        {"name": "proxy", "epochs": 2, **settings},
        {"name": "digits"},
        input=(1, 8, 8),
        classes=10,
        device=device,
        seed=0,
    )


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("off", [None, *SWITCHES])
def test_it_learns_with_every_switch_on_and_with_each_one_off(off, optimizer):
    settings = {"optimizer": optimizer, "flip": True, "crop": 1, "epochs": 5}
    result = make(**settings, **({off: False} if off else {})).evaluate(ARCH, seed=0)
    assert result.score > 0.7
    assert result.metrics["peak_memory_mb"] > 0


def test_the_graph_gives_what_single_steps_give():
    plain = make(**EXACT).evaluate(ARCH, seed=0)
    graph = make(**{**EXACT, "cuda_graph": True}).evaluate(ARCH, seed=0)
    assert graph.metrics["train_loss"] == pytest.approx(plain.metrics["train_loss"], rel=1e-3)
    assert graph.score == pytest.approx(plain.score, abs=0.03)


class Waiting:
    """The passes of a step, with a wait for the device in them, which no capture permits."""

    refused = False

    def __get__(self, step, kind):
        def gradients(images, labels):
            try:
                images.sum().item()
            except RuntimeError:
                self.refused = True
                raise
            return PASSES(step, images, labels)

        return gradients


def test_a_step_that_cannot_be_captured_is_launched_piece_by_piece(monkeypatch, caplog):
    evaluator = make(**{**EXACT, "cuda_graph": True})
    monkeypatch.setattr(TrainingStep, "_gradients", waiting := Waiting())
    curve = evaluator.evaluate(ARCH, seed=0).curve
    assert waiting.refused
    assert evaluator.suspect
    assert "no CUDA graph" in caplog.text
    assert torch.cuda.current_stream() == torch.cuda.default_stream()
    assert curve == make(**EXACT).evaluate(ARCH, seed=0).curve


@pytest.mark.parametrize("settings", [{}, {"bf16": False}, {"cuda_graph": False}])
def test_deterministic_repeats_are_equal_to_the_last_bit(settings):
    evaluator = make(deterministic=True, flip=True, crop=1, cutout=2, **settings)
    first, second = (evaluator.evaluate(ARCH, seed=0) for _ in range(2))
    assert first.curve == second.curve
    assert first.metrics["train_loss_sum"] == second.metrics["train_loss_sum"]


def test_the_gpu_and_the_cpu_train_alike():
    on_gpu, on_cpu = (make(device, **EXACT).evaluate(ARCH, seed=0) for device in ("cuda", "cpu"))
    assert on_gpu.metrics["train_loss"] == pytest.approx(on_cpu.metrics["train_loss"], rel=0.02)


def test_running_out_of_memory_is_retried_in_pieces_and_told_where_that_fails_too():
    evaluator = make(batch_size=1078, cuda_graph=False)
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    try:
        torch.cuda.set_per_process_memory_fraction(40 * 2**20 / total)
        with pytest.raises(EvaluationError, match=r"out of memory on the GPU.* in pieces of 270"):
            make(batch_size=1078, cuda_graph=False).evaluate(ARCH, seed=0)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert np.isfinite(evaluator.evaluate(ARCH, seed=0).score)


@pytest.mark.filterwarnings("ignore:.*ynchronization debug mode")
def test_nothing_waits_for_the_device_inside_a_step(monkeypatch):
    evaluator = make(cuda_graph=False, mixup=0.2, flip=True, crop=1, cutout=2, ema=0.9)
    waited = []
    take_step = TrainingStep.__call__

    def watched(self):
        torch.cuda.set_sync_debug_mode("error")
        try:
            take_step(self)
        finally:
            torch.cuda.set_sync_debug_mode("default")
            waited.append(1)

    monkeypatch.setattr(TrainingStep, "__call__", watched)
    evaluator.evaluate(ARCH, seed=0)
    assert waited


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="one CUDA device")
def test_another_gpu_than_the_first_is_trained_on_with_graphs(caplog):
    evaluator = make("cuda:1", **{**EXACT, "cuda_graph": True})
    on_second = evaluator.evaluate(ARCH, seed=0)
    assert not evaluator.suspect
    assert "no CUDA graph" not in caplog.text
    assert (
        on_second.curve
        == make("cuda:0", **{**EXACT, "cuda_graph": True}).evaluate(ARCH, seed=0).curve
    )
    assert torch.cuda.current_device() == 0


@pytest.mark.parametrize(
    "recipe", [{}, {"optimizer": "adamw"}, {"mixup": 0.2, "ema": 0.9, "crop": 1}]
)
def test_graphs_of_many_trainings_reuse_one_pool_of_memory(recipe):
    evaluator = make(**recipe)
    reserved = []
    for seed in range(4):
        evaluator.evaluate(ARCH, seed=seed)
        reserved.append(torch.cuda.memory_reserved())
    assert not evaluator.suspect
    assert reserved[-1] <= 1.1 * reserved[1]


@pytest.mark.parametrize("settings", [{}, {"optimizer": "adamw", "mixup": 0.2, "join": False}])
def test_an_interrupted_training_goes_on_to_the_same_bits(settings, tmp_path):
    from convnas.evaluators import retrain

    class Killed(BaseException):
        pass

    def killed(epoch, metrics):
        raise Killed

    how = {"deterministic": True, "epochs": 2, "crop": 1} | settings
    where = {"device": "cuda", "checkpoint": tmp_path / "checkpoint"}
    with pytest.raises(Killed):
        retrain(ARCH, {"name": "digits"}, how, **where, report=killed)
    resumed = retrain(ARCH, {"name": "digits"}, how, **where)
    whole = retrain(ARCH, {"name": "digits"}, how, device="cuda")
    for name, tensor in whole.network.state_dict().items():
        assert torch.equal(tensor, resumed.network.state_dict()[name]), name
