"""The loop against one written out by hand, and its accounts."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from convnas.evaluators import Split, TrainingSettings, measure, seeded, train_network
from convnas.evaluators.training.loop import one_cycle

CPU = torch.device("cpu")


def split_of(n, classes=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(n, 1, 2, 2, generator=generator)
    return Split(images, torch.arange(n) % classes)


def linear(seed=0):
    with seeded(seed, CPU):
        return nn.Sequential(nn.Flatten(), nn.Linear(4, 3))


def softmax(logits):
    shifted = np.exp(logits - logits.max(1, keepdims=True))
    return shifted / shifted.sum(1, keepdims=True)


def gradient(weight, bias, x, y, smoothing):
    """Of the smoothed cross-entropy of a linear classifier, by its closed form."""
    target = np.eye(3)[y] * (1 - smoothing) + smoothing / 3
    error = (softmax(x @ weight.T + bias) - target) / len(x)
    return error.T @ x, error.sum(0)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_the_loop_equals_the_optimizer_written_out_by_hand(optimizer):
    data = split_of(12)
    settings = TrainingSettings(
        epochs=4, batch_size=12, optimizer=optimizer, learning_rate=0.3, weight_decay=0.05
    )
    net = linear()
    weight, bias = (p.detach().double().numpy().copy() for p in net.parameters())
    x, y = data.images.flatten(1).double().numpy(), data.labels.numpy()
    moments = [(np.zeros_like(p), np.zeros_like(p)) for p in (weight, bias)]
    for step in range(4):  # a batch is the whole split: an epoch is a step
        rate = 0.3 * one_cycle(step / 4)
        gradients = gradient(weight, bias, x, y, settings.label_smoothing)
        for i, (p, g, decay) in enumerate(zip((weight, bias), gradients, (0.05, 0.0), strict=True)):
            first, second = moments[i]
            if optimizer == "sgd":
                g = g + decay * p
                first[...] = 0.9 * first + g
                p -= rate * (g + 0.9 * first)
            else:
                first[...] = 0.9 * first + 0.1 * g
                second[...] = 0.999 * second + 0.001 * g * g
                m, v = first / (1 - 0.9 ** (step + 1)), second / (1 - 0.999 ** (step + 1))
                p -= rate * decay * p
                p -= rate * m / (np.sqrt(v) + 1e-8)
    train_network(net, data, None, settings, seed=0, device=CPU)
    trained = [p.detach().numpy() for p in net.parameters()]
    np.testing.assert_allclose(trained[0], weight, atol=1e-5)
    np.testing.assert_allclose(trained[1], bias, atol=1e-5)


def test_scales_and_biases_are_not_decayed():
    norm, classifier = nn.BatchNorm2d(4), nn.Linear(16, 3)
    net = nn.Sequential(nn.Conv2d(1, 4, 1), norm, nn.Flatten(), classifier)
    length = classifier.weight.norm().item()
    settings = TrainingSettings(epochs=3, weight_decay=10.0, learning_rate=0.01)
    train_network(net, split_of(30), None, settings, seed=0, device=CPU)
    # Decayed at this rate, the scales would be down by more than a tenth, as the weights are.
    assert torch.allclose(norm.weight, torch.ones(4), atol=0.05)
    assert classifier.weight.norm().item() < 0.9 * length


@pytest.mark.parametrize(("n", "batch_size"), [(12, 4), (13, 4), (9, 8), (3, 8), (9, 2)])
def test_an_epoch_is_equal_batches_of_different_examples_within_the_limit(n, batch_size):
    seen = []
    net = linear()
    net.register_forward_pre_hook(lambda module, args: seen.append(args[0].clone()))
    settings = TrainingSettings(epochs=1, batch_size=batch_size)
    train_network(net, split_of(n), None, settings, seed=0, device=CPU)
    sizes = {len(batch) for batch in seen}
    assert len(sizes) == 1
    assert max(sizes) <= batch_size
    examples = {tuple(example.flatten().tolist()) for example in torch.cat(seen)}
    assert len(examples) == sum(map(len, seen)) > n - len(seen)


def test_the_order_changes_with_the_epoch_and_with_the_seed_and_with_nothing_else():
    def orders(seed):
        seen = []
        net = linear()
        net.register_forward_pre_hook(lambda module, args: seen.append(args[0].clone()))
        settings = TrainingSettings(epochs=2, batch_size=30)
        train_network(net, split_of(30), None, settings, seed=seed, device=CPU)
        return seen

    first, second = orders(0)
    assert not torch.equal(first, second)
    assert torch.equal(first, orders(0)[0])
    assert not torch.equal(first, orders(1)[0])


def test_measure_agrees_with_numpy_and_leaves_the_network_in_evaluation_mode():
    data, net = split_of(50), linear()
    accuracy, loss = measure(net, data, TrainingSettings(batch_size=8))
    weight, bias = (p.detach().double().numpy() for p in net.parameters())
    p = softmax(data.images.flatten(1).double().numpy() @ weight.T + bias)
    labels = data.labels.numpy()
    assert accuracy == np.mean(p.argmax(1) == labels)
    assert loss == pytest.approx(-np.log(p[np.arange(50), labels]).mean(), rel=1e-5)
    assert not net.training


def test_validation_does_not_train():
    data = split_of(20)
    settings = TrainingSettings(epochs=2)
    nets = linear(), linear()
    train_network(nets[0], data, None, settings, seed=0, device=CPU)
    train_network(nets[1], data, split_of(30, seed=1), settings, seed=0, device=CPU)
    assert torch.equal(nets[0][1].weight, nets[1][1].weight)


def test_the_rate_rises_to_its_peak_at_a_quarter_and_falls_to_nothing():
    rates = [one_cycle(step / 1000) for step in range(1001)]
    assert rates.index(max(rates)) == 250
    assert max(rates) == pytest.approx(1)
    assert rates[:251] == sorted(rates[:251])
    assert rates[250:] == sorted(rates[250:], reverse=True)
    assert rates[0] > 0
    assert rates[-1] == pytest.approx(0, abs=1e-12)


class CountingWaits(TorchDispatchMode):
    """Counts reads of a tensor's value by Python, each of which would wait for a GPU."""

    waits = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.waits += func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **(kwargs or {}))


def test_nothing_waits_for_the_device_inside_an_epoch():
    def waits(n):
        with CountingWaits() as counter:
            settings = TrainingSettings(epochs=2, batch_size=4)
            train_network(linear(), split_of(n), split_of(n), settings, seed=0, device=CPU)
        return counter.waits

    assert waits(n=80) == waits(n=8)


def test_channels_last_changes_no_result():
    def trained(channels_last):
        with seeded(0, CPU):
            net = nn.Sequential(nn.Conv2d(1, 8, 2), nn.Flatten(), nn.Linear(8, 3))
        settings = TrainingSettings(epochs=2, channels_last=channels_last)
        return train_network(net, split_of(40), split_of(40), settings, seed=0, device=CPU)

    one, other = trained(True).epochs[-1], trained(False).epochs[-1]
    assert one == pytest.approx(other, rel=1e-4)


@pytest.mark.parametrize(
    ("bf16", "expected"),
    [(True, torch.float32), (False, torch.float32), ("always", torch.bfloat16)],
)
def test_on_a_cpu_bfloat16_is_only_for_those_who_ask_for_it(bf16, expected):
    seen = set()
    net = linear()
    net.register_forward_hook(lambda module, args, output: seen.add(output.dtype))
    settings = TrainingSettings(epochs=1, bf16=bf16)
    history = train_network(net, split_of(12), split_of(12), settings, seed=0, device=CPU)
    assert seen == {expected}
    assert np.isfinite(history.epochs[-1]["loss"])
