from __future__ import annotations

import subprocess
import sys

import pytest

from convnas.evaluators import RetrainSettings, TrainingSettings, check_settings, create
from convnas.evaluators.settings import read_settings
from convnas.search_space import InputError

PROXY = {"name": "proxy"}
DIGITS = {"name": "digits"}


def test_good_settings_pass_without_loading_anything():
    check_settings({**PROXY, "epochs": 1, "learning_rate": None, "weight_decay": 0}, DIGITS)
    check_settings(PROXY, {"name": "npz", "path": "/nowhere.npz", "validation": 0.1})


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"epocs": 3}, "evaluator.epocs: this key is not allowed; did you mean 'epochs'?"),
        ({"epochs": 0}, "evaluator.epochs: 0 is not allowed; a whole number, 1 or more"),
        ({"epochs": 2.5}, "evaluator.epochs: 2.5 is not allowed; a whole number"),
        ({"epochs": True}, "evaluator.epochs: True is not allowed"),
        ({"epochs": None}, "evaluator.epochs: None is not allowed"),
        ({"batch_size": 1}, "evaluator.batch_size: 1 is not allowed; a whole number, 2 or more"),
        ({"optimizer": "adam"}, "evaluator.optimizer: 'adam' is not allowed; choose from: sgd, "),
        ({"optimizer": ["sgd"]}, "evaluator.optimizer"),
        ({"learning_rate": 0}, "evaluator.learning_rate: 0 is not allowed; a number above 0, or"),
        ({"learning_rate": "1e-3"}, "write 1.0e-3"),
        ({"learning_rate": "fast"}, "evaluator.learning_rate: 'fast' is not allowed; a number"),
        ({"learning_rate": float("nan")}, "evaluator.learning_rate: nan is not allowed"),
        ({"weight_decay": -1}, "evaluator.weight_decay: -1 is not allowed; a number 0 or more"),
        ({"weight_decay": None}, "evaluator.weight_decay: None is not allowed"),
        ({"share": 1.5}, "evaluator.share: 1.5 is not allowed; a number above 0 and 1 or less"),
        ({"score": "f1"}, "evaluator.score: 'f1' is not allowed; choose from: accuracy, train_l"),
        ({"label_smoothing": 1}, "label_smoothing: 1 is not allowed; a number 0 or more and below"),
        ({"bf16": "yes"}, "evaluator.bf16: 'yes' is not allowed; true or false, or always"),
        ({"bf16": 1}, "evaluator.bf16: 1 is not allowed; true or false, or always"),
        ({"mixup": -0.1}, "evaluator.mixup: -0.1 is not allowed; a number 0 or more"),
        ({"ema": 1}, "evaluator.ema: 1 is not allowed; a number 0 or more and below 1"),
        ({"name": "proxi"}, "evaluator.name: 'proxi' is not allowed; did you mean 'proxy'?"),
        ({"name": ["proxy"]}, "evaluator.name"),
        ({3: 4}, "evaluator.3: this key is not allowed"),
    ],
)
def test_bad_evaluator_settings_are_refused_with_key_value_and_what_is_allowed(settings, says):
    with pytest.raises(InputError, match=says):
        check_settings({**PROXY, **settings}, DIGITS)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ({}, "data.name: None is not allowed; choose from: cifar10, cifar100, digits, "),
        ({"name": "digit"}, "data.name: 'digit' is not allowed; did you mean 'digits'"),
        ({**DIGITS, "path": "x"}, "data.path: this key is not allowed"),
        ({**DIGITS, "validation": 0}, "data.validation: 0 is not allowed; a number above 0 and b"),
        ({**DIGITS, "validation": 0.5, "test": 0.5}, r"validation \+ test must be below 1"),
        ({**DIGITS, "split_seed": -1}, "data.split_seed: -1 is not allowed; a whole number, 0"),
        ({"name": "npz"}, "data.path: '' is not allowed; the path of an .npz or .pt file"),
        ({"name": "npz", "path": 3}, "data.path: 3 is not allowed"),
        ({"name": "mnist", "path": 3}, "data.path: 3 is not allowed; the folder that holds"),
        ({"name": "mnist", "download": 1}, "data.download: 1 is not allowed; true or false"),
        ({"name": "python:nowhere:x"}, "data.name: 'python:nowhere:x' .* it must be python:MOD"),
    ],
)
def test_bad_data_settings_are_refused(data, says):
    with pytest.raises(InputError, match=says):
        check_settings(PROXY, data)


@pytest.mark.parametrize("section", [None, "proxy", ["proxy"]])
def test_a_section_that_is_not_a_mapping_is_refused(section):
    with pytest.raises(InputError, match=r"evaluator: .* a mapping"):
        check_settings(section, DIGITS)
    with pytest.raises(InputError, match=r"data: .* a mapping"):
        check_settings(PROXY, section)


def test_create_checks_the_settings_too():
    with pytest.raises(InputError, match=r"evaluator\.epochs: 0"):
        create({**PROXY, "epochs": 0}, DIGITS, input=(1, 8, 8), classes=10)


def test_settings_are_checked_when_built_in_python():
    with pytest.raises(InputError, match="epochs: 0 is not allowed"):
        TrainingSettings(epochs=0)


def test_retraining_has_its_own_defaults_and_the_same_checks():
    settings = read_settings(RetrainSettings, {}, "training")
    assert settings.epochs > TrainingSettings().epochs
    with pytest.raises(InputError, match=r"training\.join: 1 is not allowed; true or false"):
        read_settings(RetrainSettings, {"join": 1}, "training")


def test_importing_needs_neither_optuna_nor_nni_nor_pydantic_nor_sklearn():
    code = """
import sys
import convnas.evaluators
print({"optuna", "nni", "pydantic", "sklearn", "click"} & sys.modules.keys())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
