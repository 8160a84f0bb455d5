"""Mixup against its equations, image by image."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from convnas.evaluators import Split, TrainingSettings, train_network
from convnas.evaluators.training.mixup import Mixup

IMAGES = torch.randn(5, 2, 3, 3, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 1, 2, 1, 0])


def test_each_image_and_its_label_are_the_same_mixture_with_one_partner():
    mix = Mixup(0.4, classes=3, seed=7)
    images, targets = mix(IMAGES, LABELS, mix.shares(11, 1)[0])
    # The share is where the first image lies between itself and the last one.
    moved = (images[0] - IMAGES[4]).flatten()
    line = (IMAGES[0] - IMAGES[4]).flatten()
    share = float(moved @ line / (line @ line))
    assert 0 < share < 1
    for i, partner in enumerate([4, 3, 2, 1, 0]):
        mixed = share * IMAGES[i] + (1 - share) * IMAGES[partner]
        torch.testing.assert_close(images[i], mixed)
        expected = np.zeros(3)
        expected[LABELS[i]] += share
        expected[LABELS[partner]] += 1 - share
        np.testing.assert_allclose(targets[i].numpy(), expected, atol=1e-6)


def test_the_share_depends_on_seed_and_step_and_follows_the_beta_distribution():
    def share(seed, step, alpha=0.2):
        return Mixup(alpha, 2, seed).shares(step, 1).item()

    assert share(0, 0) == share(0, 0) != share(0, 1) != share(1, 1)
    shares = Mixup(0.2, 2, 0).shares(0, 2000).numpy()
    assert shares[7] == share(0, 7)
    # Beta(a, a): mean 1/2, variance 1 / (4 (2a + 1)).
    assert shares.mean() == pytest.approx(0.5, abs=0.03)
    assert shares.var() == pytest.approx(1 / (4 * 1.4), rel=0.05)


def test_a_step_on_mixtures_has_the_gradient_of_the_mixed_losses():
    """Cross-entropy is linear in its target: the mixture's gradient is the mixture of gradients."""
    data = Split(IMAGES, LABELS)
    settings = TrainingSettings(
        epochs=1, batch_size=5, mixup=0.4, learning_rate=1.0, weight_decay=0, label_smoothing=0
    )
    torch.manual_seed(0)
    layer = nn.Linear(18, 3)
    net = nn.Sequential(nn.Flatten(), layer)
    weight, bias = (p.detach().double().numpy().copy() for p in net.parameters())
    order = torch.randperm(5, generator=torch.Generator().manual_seed(3)).numpy()
    train_network(net, data, None, settings, seed=3, device=torch.device("cpu"))
    x = IMAGES.flatten(1).double().numpy()[order]
    y = np.eye(3)[LABELS.numpy()[order]]
    share = np.random.default_rng((3, 0)).beta(0.4, 0.4)
    x, y = (share * each + (1 - share) * each[::-1] for each in (x, y))
    logits = x @ weight.T + bias
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    gradient = (p - y).T @ x / 5
    rate = 0.04  # of the one cycle's first step; Nesterov's momentum makes it 1.9 gradients
    np.testing.assert_allclose(
        layer.weight.detach().numpy(), weight - rate * 1.9 * gradient, atol=1e-5
    )
