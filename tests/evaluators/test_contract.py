"""What every evaluator promises, run over every evaluator."""

from __future__ import annotations

import functools
import random

import numpy as np
import pytest
import torch

from convnas import evaluators
from convnas.evaluators import EvaluationError
from convnas.evaluators.data.dataset import stratified
from convnas.evaluators.table import Table, TableRow, stages_text
from convnas.search_space import Architecture, InputError

PROXY = {"epochs": 3, "batch_size": 32}
QUICK = {
    "proxy": PROXY,
    "tabular": {},
    **{name: {"batch_size": 16} for name in ("snip", "grad-norm", "synflow", "naswot")},
    "flops": {},
    "params": {},
}
"""Evaluator -> settings that make it quick; an evaluator missing here fails the first test."""
DIVERGING = {"proxy": {"epochs": 3, "learning_rate": 1e30}}
WITH_EPOCHS = ["proxy", "tabular"]
WITHOUT_SEED = {"flops", "params"}
TIMES = {"seconds", "peak_memory_mb"}

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]
every_evaluator = pytest.mark.parametrize("name", sorted(QUICK))


def architecture(conv="vanilla", **numbers):
    return Architecture.from_dict(
        {
            "backbone": "resnet-cifar",
            "input": [1, 8, 8],
            "classes": 4,
            "stages": [{"conv": conv, **numbers}] * 3,
        }
    )


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """A small learnable data set: 4 classes of 40 images, one bright corner each."""
    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(4), 40)
    x = rng.integers(0, 120, (160, 8, 8), dtype=np.uint8)
    for i, label in enumerate(y):
        top, left = divmod(int(label), 2)
        x[i, 4 * top : 4 * top + 4, 4 * left : 4 * left + 4] += 100
    path = tmp_path_factory.mktemp("data") / "corners.npz"
    np.savez(path, x=x, y=y)
    return path


OPERATORS = [
    architecture(),
    architecture("octave", alpha=0.5),
    architecture("octave", alpha=0.25),
    architecture("hetconv", p=4),
    architecture("res2net", scales=4),
]


@functools.cache
def table_of(path):
    """A table beside the data: every operator, trained with two seeds."""
    data = {"name": "npz", "path": str(path)}
    proxy = make("proxy", path)
    rows: dict[str, list[TableRow]] = {}
    for arch in OPERATORS:
        records = rows[stages_text(arch)] = []
        for seed in range(2):
            epochs: list[dict[str, float]] = []
            result = proxy.evaluate(arch, seed=seed, report=lambda _, m, e=epochs: e.append(m))
            records.append(TableRow(tuple(epochs), result.metrics))
    space = {"backbone": "resnet-cifar", "input": [1, 8, 8], "classes": 4}
    header = {"convnas_table": 1, "space": space, "data": data, "evaluator": PROXY}
    Table(header, rows).save(path.with_suffix(".table.gz"))
    return str(path.with_suffix(".table.gz"))


def make(name, path, settings=None, device="cpu"):
    settings = settings or QUICK[name]
    if name == "tabular":
        settings = {**settings, "table": table_of(path)}
    return evaluators.create(
        {"name": name, **settings},
        {"name": "npz", "path": str(path)},
        input=(1, 8, 8),
        classes=4,
        device=device,
        seed=0,
    )


def without_times(metrics):
    return {name: value for name, value in metrics.items() if name not in TIMES}


def test_every_evaluator_is_tested_here():
    assert set(QUICK) == set(evaluators.EVALUATORS)


@every_evaluator
@pytest.mark.parametrize(
    "arch",
    OPERATORS,
    ids=lambda arch: str(arch.stages[0]),
)
@pytest.mark.parametrize(
    "device",
    [
        "cpu",
        pytest.param("cuda", marks=pytest.mark.gpu),
    ],
)
def test_scores_every_operator_with_a_finite_score(name, arch, device, file):
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    result = make(name, file, device=device).evaluate(arch, seed=0)
    assert np.isfinite(result.score)
    assert all(np.isfinite(value) for value in result.metrics.values())
    assert not result.pruned


@every_evaluator
def test_the_same_seed_gives_the_same_evaluation_in_a_new_evaluator_and_in_any_order(name, file):
    arch, other = architecture("octave", alpha=0.25), architecture()
    first = make(name, file).evaluate(arch, seed=3)
    used = make(name, file)
    used.evaluate(other, seed=9)
    torch.rand(5)
    second = used.evaluate(arch, seed=3)
    assert second.score == first.score
    assert second.curve == first.curve
    assert without_times(second.metrics) == without_times(first.metrics)


@pytest.mark.parametrize("name", sorted(QUICK.keys() - WITHOUT_SEED))
def test_another_seed_gives_another_evaluation(name, file):
    evaluator = make(name, file)
    one, two = (evaluator.evaluate(architecture(), seed=seed) for seed in (0, 1))
    assert (one.score, without_times(one.metrics)) != (two.score, without_times(two.metrics))


@every_evaluator
def test_global_random_state_is_untouched(name, file):
    torch.manual_seed(7)
    np.random.seed(7)
    random.seed(7)
    expected = torch.rand(3).tolist(), np.random.rand(), random.random()
    torch.manual_seed(7)
    np.random.seed(7)
    random.seed(7)
    make(name, file).evaluate(architecture(), seed=0)
    assert (torch.rand(3).tolist(), np.random.rand(), random.random()) == expected


@every_evaluator
def test_what_is_in_the_test_split_changes_nothing(name, file, tmp_path):
    with np.load(file) as arrays:
        x, y = arrays["x"], arrays["y"]
    _, _, test = stratified(y, 0.2, 0.2, seed=0)
    x[test] = 255 - x[test]
    np.savez(tmp_path / "changed.npz", x=x, y=y)
    before = make(name, file).evaluate(architecture(), seed=0)
    after = make(name, tmp_path / "changed.npz").evaluate(architecture(), seed=0)
    assert without_times(after.metrics) == without_times(before.metrics)


@pytest.mark.parametrize("name", WITH_EPOCHS)
def test_reports_every_epoch_from_one_on(name, file):
    heard = []
    result = make(name, file).evaluate(
        architecture(), seed=0, report=lambda epoch, metrics: heard.append((epoch, metrics))
    )
    assert [epoch for epoch, _ in heard] == [1, 2, 3]
    assert [metrics["accuracy"] for _, metrics in heard] == list(result.curve)
    assert {"accuracy", "loss", "train_loss", "train_loss_sum"} <= heard[0][1].keys()
    assert result.score == result.curve[-1]
    losses = [metrics["train_loss"] for _, metrics in heard]
    assert result.metrics["train_loss_sum"] == pytest.approx(sum(losses), rel=1e-4)


@pytest.mark.parametrize("name", WITH_EPOCHS)
def test_stops_when_told_with_the_score_it_had_reached(name, file):
    evaluator = make(name, file)
    whole = evaluator.evaluate(architecture(), seed=0)
    cut = evaluator.evaluate(architecture(), seed=0, report=lambda epoch, metrics: epoch == 2)
    assert cut.pruned
    assert cut.curve == whole.curve[:2]
    assert cut.score == whole.curve[1]


@pytest.mark.parametrize("name", WITH_EPOCHS)
def test_told_to_stop_after_the_last_epoch_it_is_complete(name, file):
    result = make(name, file).evaluate(
        architecture(), seed=0, report=lambda epoch, metrics: epoch == 3
    )
    assert not result.pruned


@pytest.mark.parametrize("name", sorted(DIVERGING))
def test_a_loss_that_is_not_finite_is_an_error_naming_the_epoch(name, file):
    evaluator = make(name, file, DIVERGING[name])
    with pytest.raises(EvaluationError, match=r"loss is (nan|inf) after epoch \d"):
        evaluator.evaluate(architecture(), seed=0)
    # The next architecture meets an evaluator as good as new.
    assert np.isfinite(make(name, file).evaluate(architecture(), seed=0).score)


@pytest.mark.parametrize("name", WITH_EPOCHS)
def test_an_error_in_the_report_comes_out_as_it_is(name, file):
    def report(epoch, metrics):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make(name, file).evaluate(architecture(), seed=0, report=report)


@every_evaluator
def test_an_architecture_for_other_data_is_refused(name, file):
    other = Architecture.from_dict({**architecture().to_dict(), "classes": 10})
    with pytest.raises(InputError, match=r"classes: 10 is not allowed; the data has 4 classes"):
        make(name, file).evaluate(other, seed=0)
