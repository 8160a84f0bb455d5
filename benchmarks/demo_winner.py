"""The demo's winners against the best vanilla networks inside the same budget.

Searches of the same length and budget on the digits demo, several in each arm: over the demo's
own space, and over vanilla convolutions alone, which may shrink each stage's width and choose its
depth. Each search's winner is then trained properly with several seeds, and measured on the test
split that no search saw. Intervals are over the searches (a search's own mean is one number); what
trainings and test images alone would give stands beside them.

Run: make bench-demo, or python benchmarks/demo_winner.py [--searches 5] [--seeds 3].
"""

from __future__ import annotations

import argparse
import copy
import json
import statistics
import tempfile
from typing import Any

import numpy as np
import torch
import yaml
from scipy.stats import binomtest, t, ttest_ind

from convnas.benchmarks.record import keep
from convnas.evaluators.retrain import RetrainSettings, retrain
from convnas.experiments import best_of, launch, plan
from convnas.experiments.config.schema import demo_config
from convnas.experiments.machine import conditions

VANILLA = {"conv": ["vanilla"], "width": [0.5, 0.625, 0.75, 0.875, 1], "depth": [1, 2]}
TEST_IMAGES = 359


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--searches", type=int, default=5, help="in each arm")
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each winner")
    asked = parser.parse_args()
    if min(asked.searches, asked.seeds) < 2:
        parser.error("an interval needs at least 2 searches and 2 seeds")
    torch.set_num_threads(1)
    demo = yaml.safe_load(demo_config().read_text())
    demo["data"]["split_seed"] = 0  # one test split for all searches, whatever their seeds
    vanilla = copy.deepcopy(demo)
    vanilla["space"]["stage"] = VANILLA
    arms = {"demo space": demo, "vanilla only": vanilla}
    winners: dict[str, list[dict[str, Any]]] = {name: [] for name in arms}
    for seed in range(asked.searches):
        for name, config in arms.items():
            winners[name].append(measured({**config, "seed": seed}, asked.seeds))
            print(name, seed, winners[name][-1], flush=True)
    means = [[statistics.mean(one["test_accuracy"]) for one in own] for own in winners.values()]
    between = ttest_ind(*means, equal_var=False)
    ends = between.confidence_interval(0.95)
    result = {
        "what": (__doc__ or "").splitlines()[0],
        "conditions": {
            **conditions(),
            "searches": asked.searches,
            "trials": demo["trials"],
            "seeds": asked.seeds,
            "budget": demo["budget"],
            "training": "convnas train's recipe, 60 epochs on train and validation together",
            "moving_average": RetrainSettings().ema,
        },
        "searches": {name: summary(own) for name, own in winners.items()},
        "difference": {
            "mean": statistics.mean(means[0]) - statistics.mean(means[1]),
            "half_interval_95": (ends.high - ends.low) / 2,
            "p": float(between.pvalue),
        },
    }
    keep("demo_winner.json", result)
    print(json.dumps(result, indent=1))


def measured(config: dict[str, Any], seeds: int) -> dict[str, Any]:
    """A search's winner, and its test accuracy with each seed."""
    with tempfile.TemporaryDirectory() as folder:
        run, settings = plan(config, f"{folder}/run")
        launch(run, settings)
        best = best_of(run, 1)[0]
    accuracies = [
        retrain(
            best.architecture, config["data"], {"epochs": 60, "join": True}, seed=seed, split_seed=0
        ).metrics["test_accuracy"]
        for seed in range(1, seeds + 1)
    ]
    return {
        "architecture": str(best.architecture),
        "flops": best.flops,
        "params": best.params,
        "validation_accuracy_in_search": best.score,
        "test_accuracy": accuracies,
    }


def summary(winners: list[dict[str, Any]]) -> dict[str, Any]:
    """An arm: the mean of its searches' means, with half intervals of 95 % over the searches, over
    the trainings of one winner (pooled), and over test images (Wilson's)."""
    all_ = np.array([one["test_accuracy"] for one in winners])
    searches, seeds = all_.shape
    mean = float(all_.mean())
    over_searches = t.ppf(0.975, searches - 1) * all_.mean(axis=1).std(ddof=1) / searches**0.5
    pooled = float(all_.var(axis=1, ddof=1).mean()) ** 0.5
    over_trainings = t.ppf(0.975, searches * (seeds - 1)) * pooled / seeds**0.5
    images = binomtest(round(mean * TEST_IMAGES), TEST_IMAGES).proportion_ci(method="wilson")
    return {
        "winners": winners,
        "flops": statistics.median(one["flops"] for one in winners),
        "mean": mean,
        "half_interval_95": float(over_searches),
        "half_interval_95_over_trainings": float(over_trainings),
        "half_interval_95_over_images": (images.high - images.low) / 2,
    }


if __name__ == "__main__":
    main()
