"""Trials trained by a framework of yours: a LightningModule, or Hugging Face's accelerate.

Run: python examples/own_training.py [--with lightning|accelerate] [--trials 4] [-o RUN_DIR]
    (pip install pytorch-lightning, or accelerate)
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from convnas.experiments import best_of, launch, plan

PARTS = Path(__file__).parent / "parts"

EVALUATORS = {
    "lightning": "python:by_lightning:ByLightning",
    "accelerate": "python:by_accelerate:ByAccelerate",
}

CONFIG = {
    "space": {
        "backbone": "resnet-cifar",
        "input": [1, 8, 8],
        "classes": 10,
        "stage": {"conv": ["vanilla", "octave", "hetconv"], "alpha": [0.25, 0.5], "p": [2, 4]},
    },
    "budget": {"flops": "800K"},
    "data": {"name": "digits"},
    "final": {"top": 0},
    "workers": 1,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--with", dest="framework", choices=EVALUATORS, default="lightning")
    parser.add_argument("--trials", type=int, default=4)
    parser.add_argument("-o", "--out", type=Path)
    options = parser.parse_args()
    # Where workers, processes of their own, find the evaluator. Not needed where it lies in the
    # folder you start convnas from, or is installed.
    sys.path.insert(0, str(PARTS))
    os.environ["PYTHONPATH"] = os.pathsep.join([str(PARTS), os.environ.get("PYTHONPATH", "")])
    name = f"own-{options.framework}"
    evaluator = {"name": EVALUATORS[options.framework], "epochs": 2}
    config = {**CONFIG, "name": name, "evaluator": evaluator, "trials": options.trials}
    launched = launch(*plan(config, options.out or Path("runs") / name))
    for found in best_of(launched.run, 3):
        print(f"accuracy {found.score:.4f}  {found.flops:,} flops  {found.architecture}")


if __name__ == "__main__":
    main()
