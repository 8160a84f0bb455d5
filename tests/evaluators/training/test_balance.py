"""Training on skewed data: weights in the loss, and epochs in which all classes are as frequent."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight
from torch import nn
from torch.nn import functional as F

from convnas.evaluators import Split, TrainingSettings, create, train_network
from convnas.evaluators.training.balance import EpochOrder, class_weights
from convnas.search_space import InputError

CPU = torch.device("cpu")
SKEWED = torch.tensor([0] * 30 + [1] * 9 + [2] * 3)


def test_balanced_weights_are_scikit_learns():
    expected = compute_class_weight("balanced", classes=np.arange(3), y=SKEWED.numpy())
    found = class_weights("balanced", SKEWED, 3)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-6)


def data(n=42):
    images = torch.randn(n, 1, 3, 3, generator=torch.Generator().manual_seed(1))
    return Split(images, SKEWED)


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(9, 3))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("micro_batch", [None, 10])
def test_a_step_goes_down_the_weighted_mean_loss(smoothing, micro_batch):
    wanted, net, plain = [1.0, 2.0, 5.0], network(), network()
    settings = TrainingSettings(
        epochs=1,
        batch_size=42,
        learning_rate=0.1,
        weight_decay=0,
        label_smoothing=smoothing,
        class_weights=wanted,
    )
    train_network(net, data(), None, settings, seed=0, device=CPU, micro_batch=micro_batch)
    # By hand: the sum over the examples, each by the weight of its class, over the summed weights;
    # smoothed, every class's own part has that class's weight.
    images, labels = data().images, SKEWED
    weights = torch.tensor(wanted)
    logs = F.log_softmax(plain(images), dim=1)
    target = F.one_hot(labels, 3) * (1 - smoothing) + smoothing / 3
    loss = -(target * weights * logs).sum() / weights[labels].sum()
    loss.backward()
    rate = 0.1 * 0.04  # the first step's of one: the beginning of the cycle
    for mine, theirs in zip(net.parameters(), plain.parameters(), strict=True):
        # Nesterov's first step is 1.9 times the gradient.
        expected = theirs.detach() - rate * 1.9 * theirs.grad
        torch.testing.assert_close(mine.detach(), expected, rtol=1e-5, atol=1e-7)


def test_balanced_epochs_have_all_classes_as_often():
    order = EpochOrder("balanced", SKEWED, torch.Generator().manual_seed(0))
    drawn = torch.cat([SKEWED[order.draw()] for _ in range(200)])
    shares = torch.bincount(drawn) / len(drawn)
    # 8400 draws: a standard error of 0.5 percent points.
    np.testing.assert_allclose(shares.numpy(), 1 / 3, atol=0.02)
    assert len(order.draw()) == len(SKEWED)


def test_without_a_sampler_the_order_is_the_permutation_it_was():
    order = EpochOrder(None, SKEWED, torch.Generator().manual_seed(5))
    expected = torch.randperm(42, generator=torch.Generator().manual_seed(5))
    assert torch.equal(order.draw(), expected)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"class_weights": [1.0, 2.0]}, "evaluator.class_weights: .*each of 10 classes"),
        ({"class_weights": [1.0, 0]}, "balanced, a number above 0"),
        ({"class_weights": "equal"}, "balanced, a number above 0"),
        ({"sampler": "even"}, "evaluator.sampler: 'even'.*balanced, or null"),
        ({"metrics": ["f1"]}, "evaluator.metrics: .*macro_f1"),
        ({"metrics": ["recall_12"]}, "evaluator.metrics: .*classes: 0, 1"),
        ({"score": "f1"}, "evaluator.score: 'f1'.*macro_f1"),
    ],
)
def test_settings_that_do_not_fit_are_refused_before_any_training(settings, says):
    evaluator = {"name": "proxy", **settings}
    with pytest.raises(InputError, match=says):
        create(evaluator, {"name": "digits"}, input=(1, 8, 8), classes=10, device="cpu")
