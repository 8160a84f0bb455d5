"""A small share of the kept benchmark, run again: results/search.jsonl is what it says."""

from __future__ import annotations

import numpy as np
import pytest

from convnas.benchmarks.search.__main__ import kept
from convnas.benchmarks.search.rivals import Search, searched
from convnas.benchmarks.search.summary import paired
from convnas.benchmarks.search.tasks import TABLES, TASKS, Task
from convnas.search_space.feasible.feasible_set import FeasibleSet

tables = pytest.mark.skipif(
    not (TABLES / "accel-nasbench.csv").is_file(),
    reason="the tables of other benchmarks are not here (CONVNAS_TABLES names their folder)",
)
REPLAYED = [("random", "nb201-43.2"), ("evolution", "nb201-43.2"), ("predictor", "digits")]


@pytest.mark.parametrize(("name", "task"), REPLAYED)
def test_the_kept_regrets_come_out_again(name: str, task: str) -> None:
    lines = [line for line in kept() if (line["task"], line["rival"]) == (task, name)]
    for line in lines[:2]:
        found = searched(TASKS[task](), name, line["seed"]).result()
        assert found["regret"] == pytest.approx(line["regret"], abs=1e-3)
    assert lines


def test_the_predictor_stays_inside_the_cap_and_never_repeats() -> None:
    on = TASKS["nb201-43.2"]()
    found = searched(on, "predictor", 0)
    assert set(found.shown) <= set(on.accuracy)
    assert len(found.shown) == 100


def three() -> Task:
    feasible = FeasibleSet.from_table({"op": ["a", "b", "c"]}, {"op": [0, 0, 0]})
    return Task("three", feasible, {(0,): [1.0, 5.0], (1,): [4.0], (2,): [6.0, 8.0]}, trainings=3)


def test_regret_is_of_the_winner_by_what_was_shown() -> None:
    """Means 3, 4 and 7; a network trained again shows its other reading."""
    for seed in range(8):
        found = Search(three(), seed)
        first = found.train((0,))
        assert {first, found.train((0,))} == {1.0, 5.0}
        found.train((1,))
        assert found.regret == [4.0, 4.0, 3.0]
        assert found.tried == [4.0, 4.0, 3.0]
        assert found.train((2,)) in (6.0, 8.0)
        assert found.result()["repeats"] == 1
        assert found.regret[-1] == found.tried[-1] == 0.0


def test_all_rivals_of_a_seed_are_shown_the_same_first_readings() -> None:
    for seed in range(6):
        shown = [Search(three(), seed).train((0,)) for _ in range(2)]
        assert shown[0] == shown[1]
    assert {Search(three(), seed).train((0,)) for seed in range(20)} == {1.0, 5.0}


def test_the_paired_test_is_the_exact_one_where_all_flips_can_be_counted() -> None:
    ours = dict.fromkeys(range(6), 0.0)
    other = dict(enumerate([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]))
    assert paired(ours, other)["p"] == pytest.approx(2 / 2**6, abs=1e-5)
    assert paired(ours, other)["difference"] == 3.5


@pytest.mark.tables
@tables
def test_the_tables_are_those_of_their_papers() -> None:
    """6,561 networks of three choices in eight layers, whose flops add up; 5,125 listed ones."""
    macro = TASKS["macro-all"]()
    assert (macro.feasible.count, len(macro.accuracy)) == (3**8, 3**8)
    assert macro.best == pytest.approx(93.13, abs=0.01)
    accel = TASKS["accel-all"]()
    assert accel.feasible.count == len(accel.accuracy) == 5125
    half = TASKS["accel-median"]()
    assert half.feasible.count == pytest.approx(5125 / 2, abs=2)
    assert np.mean(list(half.mean.values())) < np.mean(list(accel.mean.values()))
