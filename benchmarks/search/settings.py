"""Which of the predictor's settings are better, on seeds that no result is reported of.

On NAS-Bench-201 CIFAR-10, NAS-Bench-Macro and our own table alone, seeds from 1000 on; what is
reported has the seeds from 100 on, and Accel-NASBench chose nothing.

Run: python -m convnas.benchmarks.search.settings [--seeds 1000-1007] [--variants ...] [--tasks ...]
Kept in benchmarks/results/search_settings.json.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

import optuna

from convnas.strategies import gaussian_process, predictor

from ..record import RESULTS
from .rivals import searched
from .summary import mean_and_half
from .tasks import TASKS

VARIANTS: dict[str, dict[str, Any]] = {
    "as it is": {},
    "optimism 1": {"optimism": 1.0},
    "warp 1": {"_WARP": 1.0},
    "hardly any warp": {"_WARP": 10.0},
    "hardly any additive part": {"_ADDITIVE": 1e-6},
    "additive part 1": {"_ADDITIVE": 1.0},
}
"""Name -> the strategy's settings, or the constants of its modules."""
MODULES = (gaussian_process, predictor)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", default="1000-1007")
    parser.add_argument("--variants", default=",".join(VARIANTS))
    parser.add_argument("--tasks", default="nb201-43.2,nb201-78.6,macro-all,macro-quarter")
    parser.add_argument("--kept", default=str(RESULTS / "search_settings.json"))
    asked = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    first, last = map(int, asked.seeds.split("-"))
    found: dict[str, Any] = {"seeds": [first, last]}
    usual = {(m, key): value for m in MODULES for key, value in vars(m).items() if key.isupper()}
    for key in asked.tasks.split(","):
        task = TASKS[key]()
        for name in asked.variants.split(","):
            for (module, constant), value in usual.items():
                setattr(module, constant, VARIANTS[name].get(constant, value))
            given = {k: v for k, v in VARIANTS[name].items() if not k.startswith("_")}
            runs = [searched(task, "predictor", seed, **given) for seed in range(first, last + 1)]
            row = {
                kind: {
                    str(mark): mean_and_half([getattr(run, kind)[mark - 1] for run in runs])
                    for mark in (20, 32, 50, 100)
                    if mark <= task.trainings
                }
                for kind in ("regret", "tried")
            }
            found.setdefault(key, {})[name] = row
            print(key, name, json.dumps(row), flush=True)
            with open(asked.kept, "w") as file:
                file.write(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
