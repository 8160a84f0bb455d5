"""The moving average against its definition, and what a training does with it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from convnas.evaluators import Split, TrainingSettings, measure, train_network
from convnas.evaluators.training.average import MovingAverage

CPU = torch.device("cpu")


def test_it_is_the_running_mean_that_its_definition_gives():
    layer, norm = nn.Linear(2, 1, bias=False), nn.BatchNorm1d(1)
    net = nn.Sequential(layer, norm)
    average = MovingAverage(net, decay=0.6)
    rng = np.random.default_rng(0)
    expected = layer.weight.detach().double().numpy().copy()
    statistic = 0.0  # batch normalisation's running mean
    for n in range(30):
        value = rng.normal(size=(1, 2))
        with torch.no_grad():
            layer.weight.copy_(torch.from_numpy(value))
            norm.running_mean.fill_(float(n))
        average.update()
        decay = min(0.6, (1 + n) / (10 + n))
        expected = decay * expected + (1 - decay) * value
        statistic = decay * statistic + (1 - decay) * n
    kept = average.tensors()
    np.testing.assert_allclose(kept["0.weight"].numpy(), expected, rtol=1e-5)
    assert kept["1.running_mean"].item() == pytest.approx(statistic, rel=1e-5)
    assert "1.num_batches_tracked" not in kept


def test_it_is_lent_to_the_network_and_taken_back():
    net = nn.Linear(2, 2)
    average = MovingAverage(net, decay=0.5)
    first = net.weight.detach().clone()
    with torch.no_grad():
        net.weight.add_(1)
    place = net.weight.data_ptr()
    with average.applied():
        assert torch.equal(net.weight, first)
    assert torch.allclose(net.weight, first + 1)
    assert net.weight.data_ptr() == place  # a captured CUDA graph goes on with it


def test_a_training_measures_and_keeps_the_average():
    data = Split(
        torch.randn(40, 1, 2, 2, generator=torch.Generator().manual_seed(0)), torch.arange(40) % 3
    )

    def trained(**settings):
        """The weights after the training, and before each of its 3 x 4 steps."""
        torch.manual_seed(0)
        layer = nn.Linear(4, 3)
        net = nn.Sequential(nn.Flatten(), layer)
        before = []

        def note(layer, inputs):
            if layer.training:
                before.append(layer.weight.detach().clone())

        layer.register_forward_pre_hook(note)
        settings = TrainingSettings(epochs=3, batch_size=10, **settings)
        history = train_network(net, data, data, settings, seed=0, device=CPU)
        measured = measure(net, data, settings)
        last = history.epochs[-1]
        assert (last["accuracy"], last["loss"]) == measured
        return layer.weight.detach(), before

    (plain, steps), (averaged, same) = trained(), trained(ema=0.6)
    # The steps themselves are the same: the average only looks on.
    assert all(torch.equal(one, other) for one, other in zip(steps, same, strict=True))
    expected = steps[0].double()
    for n, weights in enumerate([*steps[1:], plain]):
        decay = min(0.6, (1 + n) / (10 + n))
        expected = decay * expected + (1 - decay) * weights.double()
    torch.testing.assert_close(averaged.double(), expected, rtol=0, atol=1e-6)
    assert not torch.allclose(plain, averaged, atol=1e-3)


def test_what_is_restored_goes_on_from_there_and_follows_no_gradient():
    net = nn.Linear(2, 1, bias=False)
    average = MovingAverage(net, decay=0.6)
    other = nn.Parameter(torch.tensor([[4.0, -2.0]]))
    average.restore({"weight": other}, updates=2)
    with torch.no_grad():
        net.weight.copy_(torch.tensor([[8.0, 2.0]]))
    average.update()
    # The decay after two updates is 3 / 12.
    torch.testing.assert_close(average.tensors()["weight"], torch.tensor([[7.0, 1.0]]))
    assert not average.tensors()["weight"].requires_grad
