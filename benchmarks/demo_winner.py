"""The demo's winner against the best vanilla network inside the same budget.

Two searches of the same length and budget on the digits demo: over the demo's own space, and over
vanilla convolutions alone, which may shrink each stage's width and choose its depth. Each search's
best architecture is then trained properly with several seeds, and measured on the test split that
neither search saw. Run: python benchmarks/demo_winner.py [--seeds 5]; with --kept the winners of
the kept result are trained again, without searching.
"""

from __future__ import annotations

import argparse
import copy
import json
import platform
import statistics
import tempfile
from pathlib import Path
from typing import Any

import torch
import yaml
from scipy.stats import t as student

import convnas
from convnas.benchmarks.record import keep
from convnas.evaluators.retrain import RetrainSettings, retrain
from convnas.experiments import best_of, launch, plan
from convnas.experiments.config.schema import demo_config

KEPT = Path(__file__).parent / "results" / "demo_winner.json"
VANILLA = {"conv": ["vanilla"], "width": [0.5, 0.625, 0.75, 0.875, 1], "depth": [1, 2]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--kept", action="store_true", help="no new searches")
    options = parser.parse_args()
    seeds = options.seeds
    torch.set_num_threads(1)
    demo = yaml.safe_load(demo_config().read_text())
    vanilla = copy.deepcopy(demo)
    vanilla["space"]["stage"] = VANILLA
    kept = json.loads(KEPT.read_text())["searches"] if options.kept else {}
    rows = {
        name: measured(config, seeds, kept.get(name))
        for name, config in (("demo space", demo), ("vanilla only", vanilla))
    }
    difference = interval(
        [a - b for a, b in zip(*(row["test_accuracy"] for row in rows.values()), strict=True)]
    )
    result = {
        "what": __doc__.splitlines()[0] if __doc__ else "",
        "conditions": {
            "trials": demo["trials"],
            "budget": demo["budget"],
            "training": "convnas train's recipe, 60 epochs on train and validation together",
            "moving_average": RetrainSettings().ema,
            "searched": not options.kept,
            "cpu": platform.processor() or platform.machine(),
            "torch": torch.__version__,
            "convnas": convnas.__version__,
        },
        "searches": rows,
        "difference": {"mean": difference[0], "half_interval_95": difference[1]},
    }
    keep(KEPT.name, result)
    print(json.dumps(result, indent=2))


def measured(config: dict[str, Any], seeds: int, kept: dict[str, Any] | None) -> dict[str, Any]:
    """The search's winner, or the kept one, and its test accuracy with each seed."""
    winner = kept or searched(config)
    architecture = convnas.Architecture.parse(winner["architecture"])
    accuracies = [
        retrain(
            architecture, config["data"], {"epochs": 60}, seed=seed, split_seed=config["seed"]
        ).metrics["test_accuracy"]
        for seed in range(1, seeds + 1)
    ]
    mean, half = interval(accuracies)
    return {**winner, "test_accuracy": accuracies, "mean": mean, "half_interval_95": half}


def searched(config: dict[str, Any]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        run, settings = plan(config, Path(folder) / "run")
        launch(run, settings)
        best = best_of(run, 1)[0]
    return {
        "architecture": str(best.architecture),
        "flops": best.flops,
        "params": best.params,
        "validation_accuracy_in_search": best.score,
    }


def interval(values: list[float]) -> tuple[float, float]:
    """Mean and half of the 95 % confidence interval (Student's t)."""
    spread = statistics.stdev(values) / len(values) ** 0.5
    return statistics.mean(values), float(student.ppf(0.975, len(values) - 1)) * spread


if __name__ == "__main__":
    main()
