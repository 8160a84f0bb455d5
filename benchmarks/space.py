"""The feasible set against what others do: a flop counter for every architecture, and rejection.

Spaces: resnet-cifar on 3x32x32, every block for itself, 11 operators a block; 2 blocks a stage
(11^6 architectures) and 4 blocks a stage (11^12). Run: python -m convnas.benchmarks.space
"""

from __future__ import annotations

import argparse
import importlib
import itertools
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

import convnas
from convnas import Budget, FeasibleSet, SearchSpace, build_network
from convnas.benchmarks.record import keep
from convnas.search_space import Architecture

costs = importlib.import_module("convnas.search_space.costs.count")
RESULTS = Path(__file__).parent / "results"
PICTURE = Path(__file__).parents[1] / "docs" / "images" / "feasible.png"
OPERATORS = {
    "conv": ["vanilla", "octave", "hetconv", "res2net"],
    "alpha": [0.125, 0.25, 0.5, 0.75],
    "p": [2, 4, 8],
    "scales": [2, 4, 8],
}


def space(blocks: int) -> SearchSpace:
    return SearchSpace.from_config(
        {
            "backbone": "resnet-cifar",
            "input": [3, 32, 32],
            "classes": 10,
            "granularity": "block",
            "stage": {**OPERATORS, "depth": [blocks]},
        }
    )


def timed(run: Callable[[], Any], rounds: int) -> dict[str, float]:
    """Median, least and greatest wall seconds of `rounds` runs."""
    seconds = []
    for _ in range(rounds):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return {"median": statistics.median(seconds), "min": min(seconds), "max": max(seconds)}


def by_flop_counter(network: torch.nn.Module, shape: tuple[int, int, int]) -> int:
    """What one does without a closed form: run the network under torch's counter (no arithmetic:
    everything is on the meta device)."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(torch.empty(1, *shape, device="meta"))
    return int(counter.get_total_flops()) // 2


def forgetful_cost(architecture: Architecture) -> int:
    """The closed form with nothing remembered from other architectures."""
    for cache in (
        costs.architecture_cost,
        costs.stage_cost,
        costs.stem_cost,
        costs.head_cost,
        costs.block_cost,
    ):
        cache.cache_clear()
    return convnas.cost(architecture).flops


def described(_: tuple[int, ...]) -> dict[str, Any]:
    return {}


def count_within(space: SearchSpace, limit: int) -> int:
    return space.within(Budget(flops=limit)).count


def by_rejection(whole: FeasibleSet[Architecture], limit: int, draws: int) -> tuple[float, int]:
    """Seconds and hits of drawing from the whole space and keeping what is inside, vectorised."""
    start, rng = time.perf_counter(), np.random.default_rng(1)
    hits = 0
    for _ in range(draws // 10_000):
        rows = np.column_stack([rng.integers(n, size=10_000) for n in whole.chain.shape])
        hits += int((whole.costs(rows)[:, 0] <= limit).sum())
    return time.perf_counter() - start, hits


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)

    six = space(2).within(None)
    some = six.sample(rng, 12)
    with torch.device("meta"):
        networks = [build_network(architecture).eval() for architecture in some]
    shape = some[0].input
    flop_counter = timed(lambda: [by_flop_counter(n, shape) for n in networks], 3)
    flop_counter = {name: seconds / len(some) for name, seconds in flop_counter.items()}
    first = timed(lambda: [forgetful_cost(a) for a in some], rounds)["median"] / len(some)
    convnas.cost(some[0])
    cached = timed(lambda: [convnas.cost(some[0]) for _ in range(1000)], rounds)["median"] / 1000
    enumerated = timed(lambda: space(2).within(Budget(flops="20M")).count, rounds)
    chain = space(2).chain
    costed = timed(
        lambda: FeasibleSet(chain, {"flops": (None, 2 * 10**7)}, tuple, tuple, described).count,
        rounds,
    )

    twelve = space(4)
    whole = twelve.within(None)
    tables = timed(lambda: space(4), rounds)
    spread = np.sort(whole.costs(whole.sample_indices(rng, 200_000))[:, 0])
    rows = []
    limits = {
        "half of all": int(spread[100_000]),
        "one in a thousand": int(spread[200]),
        "hardly any": int(0.62 * spread[0] + 0.38 * convnas.cost(whole.cheapest()).flops),
        "the hundred cheapest": convnas.cost(next(itertools.islice(whole, 99, None))).flops,
    }
    for name, limit in limits.items():
        counting = timed(partial(count_within, twelve, limit), 3)
        feasible = twelve.within(Budget(flops=limit))
        feasible.sample_indices(rng, 10)
        drawing = timed(partial(feasible.sample_indices, rng, 400_000), rounds)
        seconds, hits = by_rejection(whole, limit, 400_000)
        share = feasible.count / feasible.size
        rows.append(
            {
                "budget": name,
                "flops": limit,
                "count": feasible.count,
                "share": share,
                "count_seconds": counting,
                "samples_per_second": 400_000 / drawing["median"],
                "rejection_samples_per_second": 400_000 * share / seconds,
                "rejection_hits_in_400000_draws": hits,
                "ratio": seconds / (400_000 * share) / (drawing["median"] / 400_000),
                "rejection_seconds_for_one": seconds / 400_000 / share,
            }
        )
    result = {
        "conditions": {
            "cpu": cpu(),
            "torch": torch.__version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
            "threads": 1,
            "rounds": rounds,
            "load_average": os.getloadavg()[0],
            "date": date.today().isoformat(),
        },
        "cost of one architecture": {
            "flop_counter_seconds": flop_counter["median"],
            "closed_form_seconds": first,
            "cached_seconds": cached,
            "ratio_first": flop_counter["median"] / first,
            "ratio_cached": flop_counter["median"] / cached,
        },
        "11^6": {
            "from_config_to_count_seconds": enumerated,
            "enumerate_and_cost_seconds": costed,
            "flop_counter_hours": flop_counter["median"] * 11**6 / 3600,
            "ratio": flop_counter["median"] * 11**6 / costed["median"],
        },
        "11^12": {"tables_seconds": tables, "size": whole.size, "budgets": rows},
    }
    RESULTS.mkdir(exist_ok=True)
    draw(twelve, spread, list(limits.values())[:3])
    keep("space.json", result)
    print(json.dumps(result, indent=2))


def draw(twelve: SearchSpace, spread: np.ndarray, limits: list[int]) -> None:
    """docs/images/feasible.png: the whole space, and uniform draws inside each budget."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    rng = np.random.default_rng(0)
    figure, axes = plt.subplots(figsize=(8, 3.6), constrained_layout=True)
    edges = list(np.linspace(min(limits) * 0.97, spread[-1], 90) / 1e6)
    axes.hist(spread / 1e6, edges, color="0.8", density=True, label="all 3.1 million million")
    for limit, colour in zip(limits, ("C0", "C1", "C3"), strict=True):
        feasible = twelve.within(Budget(flops=limit))
        inside = feasible.costs(feasible.sample_indices(rng, 100_000))[:, 0] / 1e6
        label = f"{feasible.count:,} within {limit / 1e6:.1f}M"
        own = list(np.arange(limit / 1e6, inside.min() - 0.6, -0.6)[::-1])  # ends at the limit
        axes.hist(inside, own, color=colour, density=True, histtype="step", lw=1.6, label=label)
        axes.axvline(limit / 1e6, color=colour, lw=0.8, ls=":")
    axes.set_xlabel("multiply-adds, millions")
    axes.set_ylabel("density of uniform draws")
    axes.legend(frameon=False)
    PICTURE.parent.mkdir(exist_ok=True)
    figure.savefig(PICTURE, dpi=110, metadata={"Software": None})


def cpu() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


if __name__ == "__main__":
    main()
