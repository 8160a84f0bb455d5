"""Zero-cost scores against their definitions, worked out another way on networks small enough."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

from convnas import evaluators
from convnas.evaluators import seeded
from convnas.evaluators.zero_cost import grad_norm, naswot, snip, synflow
from convnas.search_space import Architecture, Choice, build_network, cost

CPU = torch.device("cpu")


def linear(*sizes):
    with seeded(0, CPU):
        layers = [
            part for a, b in itertools.pairwise(sizes) for part in (nn.Linear(a, b), nn.ReLU())
        ]
    return nn.Sequential(nn.Flatten(), *layers[:-1])


def batch(n=6, size=4, classes=3):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(n, size, generator=generator), torch.arange(n) % classes


def softmax_gradient(net, images, labels):
    """Of the mean cross-entropy of a linear classifier, by its closed form."""
    weight, bias = (p.detach().double().numpy() for p in net.parameters())
    logits = images.double().numpy() @ weight.T + bias
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return weight, ((p - np.eye(3)[labels]) / len(labels)).T @ images.double().numpy()


def test_snip_and_grad_norm_by_the_closed_form_of_a_linear_classifier():
    net, (images, labels) = linear(4, 3), batch()
    weight, gradient = softmax_gradient(net, images, labels)
    assert snip(net, images, labels) == pytest.approx(np.abs(weight * gradient).sum(), rel=1e-5)
    assert grad_norm(net, images, labels) == pytest.approx(np.linalg.norm(gradient), rel=1e-5)


def test_grad_norm_adds_up_the_norms_of_the_layers():
    """Two layers, by the chain rule written out; the norm of all gradients as one would be less."""
    net, (images, labels) = linear(4, 5, 3), batch()
    first, first_bias, second, second_bias = (p.detach().double().numpy() for p in net.parameters())
    x = images.double().numpy()
    hidden = np.maximum(x @ first.T + first_bias, 0)
    logits = hidden @ second.T + second_bias
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    error = (p - np.eye(3)[labels]) / len(x)
    of_second = error.T @ hidden
    of_first = ((error @ second) * (hidden > 0)).T @ x
    expected = np.linalg.norm(of_first) + np.linalg.norm(of_second)
    assert grad_norm(net, images, labels) == pytest.approx(expected, rel=1e-5)
    assert expected > 1.1 * np.hypot(np.linalg.norm(of_first), np.linalg.norm(of_second))


def test_synflow_is_the_flow_through_all_paths_counted_once_a_layer():
    net, (images, labels) = linear(4, 5, 3), batch()
    first, first_bias, second, _ = (p.detach().abs().double().numpy() for p in net.parameters())
    # Weights see what flows through them: the second layer's all, the first's all but the biases.
    by_second = (second @ (first.sum(1) + first_bias)).sum()
    by_first = (second @ first.sum(1)).sum()
    assert synflow(net, images, labels) == pytest.approx(math.log(by_first + by_second))


def test_synflow_needs_no_data():
    arch = architecture()
    one, two = (evaluate("synflow", arch, seed=3, data_seed=s).score for s in (0, 1))
    assert one == two


def test_naswot_is_the_log_determinant_of_agreeing_relus():
    net, (images, labels) = linear(4, 20, 3), batch(n=5)
    hidden = (images @ net[1].weight.T + net[1].bias).detach().numpy() > 0
    kernel = [[(a == b).sum() for b in hidden] for a in hidden]
    assert naswot(net, images, labels) == pytest.approx(np.linalg.slogdet(kernel)[1], rel=1e-5)


@pytest.mark.parametrize(
    "choice", [Choice("octave", alpha=0.5), Choice("res2net", scales=4)], ids=str
)
def test_naswot_sees_every_relu_of_a_network_wherever_it_is_called(choice):
    net = build_network(Architecture("resnet-cifar", (1, 16, 16), 10, (choice,) * 3))
    image = torch.randn(1, 1, 16, 16)
    # One image alone agrees with itself in every output of every ReLU: the kernel is their number.
    assert math.exp(naswot(net, image, torch.zeros(1))) == pytest.approx(relu_outputs(net, image))


def relu_outputs(net, image):
    """As torch's profiler counts them."""
    with profile(activities=[ProfilerActivity.CPU], record_shapes=True) as record, torch.no_grad():
        net(image)
    shapes = [e.input_shapes[0] for e in record.events() if e.name in ("aten::relu_", "aten::relu")]
    return sum(math.prod(shape) for shape in shapes)


def architecture(conv="vanilla", **numbers):
    return Architecture("resnet-cifar", (1, 8, 8), 10, (Choice(conv, **numbers),) * 3)


def evaluate(name, arch, *, seed=0, data_seed=0):
    where = {"input": (1, 8, 8), "classes": 10, "device": "cpu", "seed": data_seed}
    return evaluators.create({"name": name}, {"name": "digits"}, **where).evaluate(arch, seed=seed)


@pytest.mark.parametrize("name", ["flops", "params"])
def test_the_costs_are_scores_too(name):
    arch = architecture("hetconv", p=4)
    assert evaluate(name, arch).score == getattr(cost(arch), name)
