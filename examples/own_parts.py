"""A search with an operator, a strategy and an evaluator of your own, each one file in parts/.

Run: python examples/own_parts.py [--trials 8] [-o RUN_DIR]
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from convnas.experiments import best_of, launch, plan

PARTS = Path(__file__).parent / "parts"

CONFIG = {
    "name": "own-parts",
    "plugins": ["ghost"],  # imported by every process: it registers the operator
    "space": {
        "backbone": "resnet-cifar",
        "input": [1, 8, 8],
        "classes": 10,
        "stage": {"conv": ["vanilla", "ghost"], "ratio": [2, 4]},
    },
    "budget": {"flops": "1.1M"},
    "data": {"name": "digits"},
    "evaluator": {"name": "python:recall:MeanRecall", "epochs": 2},
    "strategy": {"name": "greedy.Greedy", "startup": 3},
    "final": {"top": 0},
    "workers": 1,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=8)
    parser.add_argument("-o", "--out", default="runs/own-parts")
    options = parser.parse_args()
    # Where workers, processes of their own, find the three files. Not needed where they lie in the
    # folder you start convnas from, or are installed.
    sys.path.insert(0, str(PARTS))
    os.environ["PYTHONPATH"] = os.pathsep.join([str(PARTS), os.environ.get("PYTHONPATH", "")])
    launched = launch(*plan({**CONFIG, "trials": options.trials}, options.out))
    for found in best_of(launched.run, 3):
        print(f"mean recall {found.score:.4f}  {found.flops:,} flops  {found.architecture}")


if __name__ == "__main__":
    main()
