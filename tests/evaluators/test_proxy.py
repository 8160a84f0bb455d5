"""What makes a proxy of a training: less data, smaller images, thinner networks, other scores."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from convnas import evaluators
from convnas.evaluators import EvaluationError, load_data
from convnas.evaluators.proxy import _piece
from convnas.search_space import Architecture, Choice, cost

DIGITS = {"name": "digits"}


def architecture(*choices, size=8):
    stages = choices or (Choice("vanilla"),) * 3
    return Architecture("resnet-cifar", (1, size, size), 10, stages)


def make(size=8, **settings):
    return evaluators.create(
        {"name": "proxy", "epochs": 2, **settings},
        DIGITS,
        input=(1, size, size),
        classes=10,
        device="cpu",
        seed=0,
    )


def heard(evaluator, arch=None, seed=0):
    epochs = []
    result = evaluator.evaluate(
        arch or architecture(), seed=seed, report=lambda _, metrics: epochs.append(metrics)
    )
    return result, epochs


@pytest.mark.parametrize(
    ("score", "sign", "metric"),
    [("accuracy", 1, "accuracy"), ("loss", -1, "loss"), ("train_loss_sum", -1, "train_loss_sum")],
)
def test_the_score_is_the_metric_asked_for_higher_being_better(score, sign, metric):
    result, epochs = heard(make(score=score))
    assert list(result.curve) == [sign * each[metric] for each in epochs]
    assert [each["score"] for each in epochs] == list(result.curve)
    assert result.score == result.curve[-1] == sign * result.metrics[metric]
    losses = [each["train_loss"] for each in epochs]
    assert epochs[-1]["train_loss_sum"] == pytest.approx(sum(losses))


def test_a_share_keeps_that_part_of_every_class_and_all_of_the_validation_split():
    whole = load_data(DIGITS, seed=0, input=(1, 8, 8), classes=10).search
    part = make(share=0.25).data
    for label in range(10):
        count = int((whole.train.labels == label).sum())
        assert int((part.train.labels == label).sum()) == round(0.25 * count)
        # Of 100 and more, a quarter drawn by chance is not the first quarter, nor the last.
        own = whole.train.pixels[whole.train.labels == label].flatten(1).tolist()
        kept = part.train.pixels[part.train.labels == label].flatten(1).tolist()
        assert kept != own[: len(kept)]
        assert kept != own[-len(kept) :]
    assert torch.equal(part.validation.pixels, whole.validation.pixels)
    known = set(map(tuple, whole.train.pixels.flatten(1).tolist()))
    assert all(tuple(image) in known for image in part.train.pixels.flatten(1).tolist())


def test_the_proxy_trains_at_its_resolution_and_takes_the_space_s_architectures():
    evaluator = make(size=16, resolution=8)
    assert evaluator.data.input == (1, 8, 8)
    result, _ = heard(evaluator, architecture(size=16))
    plain, _ = heard(make(), architecture())
    # The digits are 8x8: enlarged and reduced again they are still much the same.
    assert result.score == pytest.approx(plain.score, abs=0.15)


def test_width_trains_a_network_of_that_width():
    narrow = architecture(*[Choice("vanilla", width=0.5)] * 3)
    by_setting, _ = heard(make(width=0.5))
    by_hand, _ = heard(make(), narrow)
    assert by_setting.curve == by_hand.curve
    assert cost(narrow).flops < cost(architecture()).flops


def test_a_width_at_which_a_choice_cannot_be_built_fails_that_trial_with_the_reason():
    evaluator = make(width=0.25)
    with pytest.raises(EvaluationError, match=r"at the proxy's width it cannot be built: .*p"):
        evaluator.evaluate(architecture(*[Choice("hetconv", p=8)] * 3), seed=0)


def test_several_seeds_give_the_mean_of_different_trainings():
    one, epochs = heard(make(seeds=1))
    mean, told = heard(make(seeds=3))
    assert told == epochs  # the report hears the first training
    assert mean.metrics["train_loss"] != one.metrics["train_loss"]
    again, _ = heard(make(seeds=3))
    assert again.curve == mean.curve
    assert len(mean.curve) == 2


def test_several_seeds_stop_with_the_first_training_when_told():
    result = make(seeds=3, epochs=3).evaluate(
        architecture(), seed=0, report=lambda epoch, _: epoch == 1
    )
    assert result.pruned
    assert len(result.curve) == 1


def test_no_piece_of_a_batch_is_a_single_example() -> None:
    """Which batch normalisation refuses on maps of one pixel."""
    for size in range(2, 300):
        pieces = [len(piece) for piece in torch.arange(size).split(_piece(size))]
        assert min(pieces) >= 2
        assert max(pieces) <= max(4, size / 4 + 2)


def test_pieces_of_a_batch_add_up_to_its_gradient_where_nothing_looks_across_the_batch():
    from torch import nn

    from convnas.evaluators import Split, TrainingSettings, seeded, train_network

    images = torch.randn(24, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    data = Split(images, torch.arange(24) % 3)

    def trained(micro_batch):
        with seeded(0, torch.device("cpu")):
            net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, 3))
        settings = TrainingSettings(epochs=3, batch_size=12)
        train_network(
            net, data, None, settings, seed=0, device=torch.device("cpu"), micro_batch=micro_batch
        )
        return torch.cat([p.detach().flatten() for p in net.parameters()])

    # 12 in pieces of 5: 5, 5 and 2, each counting by its size.
    np.testing.assert_allclose(trained(5), trained(None), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_switches_turned_off_change_no_result_on_a_cpu(optimizer):
    on, _ = heard(make(optimizer=optimizer, epochs=1, share=0.3))
    switches = dict.fromkeys(("fused", "uint8", "bf16", "cuda_graph", "benchmark"), False)
    off, _ = heard(make(optimizer=optimizer, epochs=1, share=0.3, **switches))
    assert off.metrics["train_loss"] == pytest.approx(on.metrics["train_loss"], rel=1e-3)


def test_deterministic_leaves_torch_s_switches_as_they_were():
    before = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark
    first, _ = heard(make(deterministic=True, flip=True, crop=1, cutout=2))
    second, _ = heard(make(deterministic=True, flip=True, crop=1, cutout=2))
    assert first.curve == second.curve
    assert first.metrics["loss"] == second.metrics["loss"]
    assert (
        torch.are_deterministic_algorithms_enabled(),
        torch.backends.cudnn.benchmark,
    ) == before


def test_peak_memory_is_what_the_process_held():
    import resource

    result, _ = heard(make(epochs=1))
    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    assert 50 < result.metrics["peak_memory_mb"] <= held + 1
