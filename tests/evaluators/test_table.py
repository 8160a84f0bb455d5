from __future__ import annotations

import gzip

import pytest

from convnas import evaluators
from convnas.evaluators import EvaluationError
from convnas.evaluators.table import Table, TableRow
from convnas.search_space import Architecture, Choice, InputError

SPACE = {"backbone": "resnet-cifar", "input": [1, 8, 8], "classes": 10}
HEADER = {"convnas_table": 1, "space": SPACE, "data": {"name": "digits"}, "evaluator": {}}
ARCH = Architecture("resnet-cifar", (1, 8, 8), 10, (Choice("vanilla"),) * 3)
OTHER = Architecture("resnet-cifar", (1, 8, 8), 10, (Choice("hetconv", p=4),) * 3)


def record(*accuracies):
    epochs = [
        {"accuracy": a, "train_loss_sum": 2.0 * i, "loss": 1 - a}
        for i, a in enumerate(accuracies, 1)
    ]
    return TableRow(tuple(epochs), {"seconds": 1.5})


ROWS = {
    "vanilla | vanilla | vanilla": [record(0.25, 0.5), record(0.35, 0.75)],
    "hetconv(p=4) | hetconv(p=4) | hetconv(p=4)": [TableRow((), {}, "the loss is nan")] * 2,
}


@pytest.fixture
def path(tmp_path):
    Table(HEADER, ROWS).save(tmp_path / "t.table.gz")
    return str(tmp_path / "t.table.gz")


def make(path, data=None, **settings):
    return evaluators.create(
        {"name": "tabular", "table": path, **settings},
        data or {"name": "digits"},
        input=(1, 8, 8),
        classes=10,
        device="cpu",
    )


def test_what_is_saved_is_loaded_and_saved_again_to_the_same_bytes(path, tmp_path):
    table = Table.load(path)
    assert dict(table.rows) == ROWS
    table.save(tmp_path / "again.gz")
    with open(path, "rb") as one, open(tmp_path / "again.gz", "rb") as two:
        assert one.read() == two.read()


@pytest.mark.parametrize(("seed", "score"), [(0, 0.5), (1, 0.75), (2, 0.5)])
def test_a_seed_takes_its_own_record_counted_round(path, seed, score):
    assert make(path).evaluate(ARCH, seed=seed).score == score


def test_the_mean_is_over_all_records(path):
    result = make(path, mean=True).evaluate(ARCH, seed=0)
    assert result.curve == pytest.approx((0.3, 0.625))
    assert result.metrics["seconds"] == 1.5


def test_another_score_is_read_from_the_same_table(path):
    assert make(path, score="train_loss_sum").evaluate(ARCH, seed=0).curve == (-2.0, -4.0)


def test_a_failure_fails_again_with_its_reason(path):
    with pytest.raises(EvaluationError, match="the loss is nan"):
        make(path).evaluate(OTHER, seed=0)


def test_an_architecture_that_is_not_there_is_named(path):
    missing = Architecture("resnet-cifar", (1, 8, 8), 10, (Choice("octave", alpha=0.5),) * 3)
    with pytest.raises(EvaluationError, match=r"does not hold .*octave\(alpha=0\.5\)"):
        make(path).evaluate(missing, seed=0)


def test_other_data_is_refused(path):
    with pytest.raises(InputError, match=r"data: .* the table was made with .*digits"):
        make(path, data={"name": "digits", "validation": 0.3})


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "a whole file of convnas tabulate"),
        (b"text", "a whole file of convnas tabulate"),
        (gzip.compress(b"[1]\n", mtime=0), "a whole file of convnas tabulate"),
        (gzip.compress(b'{"convnas_table": 9}\n', mtime=0), "format 9, not 1"),
        (
            gzip.compress(b'{"convnas_table": 1, "space": {}}\n', mtime=0),
            "a whole file of convnas tabulate",
        ),
        (None, "the path of a table"),
    ],
)
def test_a_file_that_is_no_table_is_refused_in_one_line(tmp_path, content, says):
    file = tmp_path / "t.gz"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(InputError, match=says) as caught:
        make(str(file))
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("evaluator.table")


def test_a_truncated_table_is_refused(path, tmp_path):
    with open(path, "rb") as whole:
        (tmp_path / "cut.gz").write_bytes(whole.read()[:-20])
    with pytest.raises(InputError, match="a whole file of convnas tabulate"):
        make(str(tmp_path / "cut.gz"))
