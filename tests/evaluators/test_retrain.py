from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score, recall_score

from convnas.evaluators import EvaluationError, load_data, retrain
from convnas.search_space import Architecture, InputError

ARCH = Architecture.from_dict(
    {
        "backbone": "resnet-cifar",
        "input": [1, 8, 8],
        "classes": 10,
        "stages": [{"conv": "vanilla"}] * 3,
    }
)
DIGITS = {"name": "digits"}
BRIEF = {"epochs": 2}


@pytest.fixture(scope="module")
def trained():
    return retrain(ARCH, DIGITS, BRIEF, device="cpu", seed=1, split_seed=0)


def test_the_network_has_the_test_accuracy_it_was_given(trained):
    test = load_data(DIGITS, seed=0, input=(1, 8, 8), classes=10).test
    with torch.inference_mode():
        guessed = trained.network(test.images).argmax(1)
    assert trained.metrics["test_accuracy"] == pytest.approx(
        np.mean(guessed.numpy() == test.labels.numpy()), abs=1 / len(test)
    )
    assert not trained.network.training
    assert trained.metrics["test_accuracy"] > 0.5


def test_it_says_what_it_was_trained_on_in_plain_data(trained):
    assert trained.data["name"] == "digits"
    assert trained.data["split_seed"] == 0
    assert trained.data["joined"] is False
    assert trained.data["class_names"] == list("0123456789")
    assert trained.data["range"] == [0, 16]
    assert sum(trained.data["sizes"].values()) == 1797


def test_the_same_seed_gives_the_same_weights(trained):
    again = retrain(ARCH, DIGITS, BRIEF, device="cpu", seed=1, split_seed=0)
    for name, tensor in again.network.state_dict().items():
        assert torch.equal(tensor, trained.network.state_dict()[name]), name


def test_joined_it_reports_training_only_and_else_validation_too():
    heard = []
    settings = {"epochs": 1, "join": True}
    retrain(ARCH, DIGITS, {"epochs": 1}, device="cpu", report=lambda e, m: heard.append(m))
    retrain(ARCH, DIGITS, settings, device="cpu", report=lambda e, m: heard.append(m))
    assert "accuracy" in heard[0]
    assert "accuracy" not in heard[1]
    assert not any("test" in name for metrics in heard for name in metrics)


def test_divergence_is_an_evaluation_error():
    with pytest.raises(EvaluationError, match="loss is nan after epoch 1"):
        retrain(ARCH, DIGITS, {"epochs": 1, "learning_rate": 1e30}, device="cpu")


def test_unknown_settings_are_refused():
    with pytest.raises(InputError, match=r"training\.epoch: this key .* did you mean 'epochs'"):
        retrain(ARCH, DIGITS, {"epoch": 1}, device="cpu")


def test_what_the_search_was_after_is_measured_on_the_test_split_and_keeps_the_epoch():
    heard = []
    settings = {**BRIEF, "score": "macro_f1", "metrics": ["recall_3"], "class_weights": "balanced"}
    kept = retrain(ARCH, DIGITS, settings, device="cpu", report=lambda e, m: heard.append(m))
    test = load_data(DIGITS, seed=0, input=(1, 8, 8), classes=10).test
    with torch.inference_mode():
        guessed = kept.network(test.images).argmax(1).numpy()
    labels = test.labels.numpy()
    # Batches of another size may turn one answer that was nearly two.
    expected = f1_score(labels, guessed, average="macro")
    assert kept.metrics["test_macro_f1"] == pytest.approx(expected, abs=0.005)
    expected = recall_score(labels, guessed, labels=[3], average=None)[0]
    assert kept.metrics["test_recall_3"] == pytest.approx(expected, abs=0.03)
    best = max(heard, key=lambda metrics: metrics["macro_f1"])
    assert kept.metrics["macro_f1"] == best["macro_f1"]
