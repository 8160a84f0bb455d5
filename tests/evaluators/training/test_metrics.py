"""Metrics of classes: as scikit-learn computes them from the same answers."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from sklearn.metrics import (
    balanced_accuracy_score,
    f1_score,
    recall_score,
    top_k_accuracy_score,
)
from torch import nn

from convnas.evaluators import Split, TrainingSettings, measure
from convnas.evaluators.training.metrics import ClassMetrics, is_class_metric
from convnas.search_space import InputError

NAMES = ["macro_f1", "balanced_accuracy", "recall_2", "recall_dog", "top2_accuracy"]
PETS = ("cat", "dog", "eel", "fox", "gnu")


def answers(n=60, classes=5, seed=0):
    """Logits and labels of skewed classes; one is never answered, another never there."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(classes - 1, size=n, p=[0.6, 0.2, 0.15, 0.05])
    labels[:4] = range(4)
    logits = rng.normal(size=(n, classes)) + 1.5 * np.eye(classes)[labels]
    logits[:, 3] -= 100
    return torch.tensor(logits, dtype=torch.float32), torch.from_numpy(labels)


def by_scikit_learn(logits, labels):
    told, scores = logits.argmax(1).numpy(), logits.numpy()
    recalls = recall_score(labels, told, labels=range(5), average=None, zero_division=0)
    return {
        "macro_f1": f1_score(labels, told, average="macro"),
        "balanced_accuracy": _balanced(labels, told),
        "recall_2": recalls[2],
        "recall_dog": recalls[1],
        "top2_accuracy": top_k_accuracy_score(labels, scores, k=2, labels=range(5)),
    }


def _balanced(labels, told):
    with warnings.catch_warnings():
        # Of an answer that no example has: it leaves that out, as we do.
        warnings.filterwarnings("ignore", message="y_pred contains classes not in y_true")
        return balanced_accuracy_score(labels, told)


@pytest.mark.parametrize("seed", range(4))
def test_they_are_scikit_learns(seed):
    logits, labels = answers(seed=seed)
    metrics = ClassMetrics(NAMES, labels, 5, PETS)
    for some in (slice(0, 17), slice(17, 60)):
        metrics.add(logits[some], labels[some])
    assert metrics.values() == pytest.approx(by_scikit_learn(logits, labels), abs=1e-12)
    metrics.reset()
    metrics.add(logits[:30], labels[:30])
    first = by_scikit_learn(logits[:30], labels[:30])
    assert metrics.values() == pytest.approx(first, abs=1e-12)


def test_what_only_fills_a_batch_up_does_not_count():
    logits, labels = answers()
    metrics = ClassMetrics(NAMES, labels, 5, PETS)
    metrics.add(torch.cat([logits, logits[:9]]), torch.cat([labels, torch.full((9,), -100)]))
    assert metrics.values() == pytest.approx(by_scikit_learn(logits, labels), abs=1e-12)


def test_a_pass_over_a_split_counts_every_example_once():
    logits, labels = answers(n=23)
    split = Split(logits[:, :, None, None], labels)
    metrics = ClassMetrics(NAMES, labels, 5, PETS)
    accuracy, _ = measure(
        nn.Flatten(), split, TrainingSettings(batch_size=8, channels_last=False), metrics=metrics
    )
    assert accuracy == int((logits.argmax(1) == labels).sum()) / 23
    assert metrics.values() == pytest.approx(by_scikit_learn(logits, labels), abs=1e-12)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("recall_dogs", "classes: cat, dog, eel, fox, gnu"),
        ("recall_5", "classes: cat"),
        ("recall_gnu", "none of these"),
        ("top5_accuracy", "the first 4 at most"),
    ],
)
def test_what_the_data_does_not_have_is_named(name, says):
    with pytest.raises(InputError, match=says):
        ClassMetrics([name], answers()[1], 5, PETS)


@pytest.mark.parametrize("name", ["macro_f2", "top0_accuracy", "top_accuracy", "recall_", 3, None])
def test_other_names_are_no_metrics(name):
    assert not is_class_metric(name)
