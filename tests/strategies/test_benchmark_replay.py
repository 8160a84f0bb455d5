"""A small share of the kept benchmark, run again: results/search.json is what it says."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
KEPT = json.loads((BENCHMARKS / "results" / "search.json").read_text())


@pytest.fixture
def search(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import search

    yield search
    for name in ("search", "nasbench201"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize("name", ["random", "evolution"])
def test_the_kept_regrets_come_out_again(search, name) -> None:
    on = search.task("cifar10", 43.2)
    kept = KEPT["cifar10 43.2 M"]["strategies"][name]["regrets_at_end"]
    for seed in range(2):
        found = search.searched(on, name, seed)
        assert search.regrets(on, found)[-1] == pytest.approx(kept[seed], abs=1e-3)


def test_the_predictor_stays_inside_the_cap_and_never_repeats(search) -> None:
    on = search.task("cifar10", 43.2)
    found = search.searched(on, "predictor", 0, n=60)
    assert on.inside[found.rows].all()
    assert len(set(found.rows)) == 60


def test_the_floor_is_the_best_hundred_seen_once() -> None:
    for cap in ("cifar10 78.6 M", "cifar10 43.2 M"):
        floor = KEPT[cap]["winners_curse_floor"]
        ends = [np.mean(s["regrets_at_end"]) for s in KEPT[cap]["strategies"].values()]
        assert 0 < floor < min(ends)
