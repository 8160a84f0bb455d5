"""Every rival on every task, each search kept as it ends, so that a stopped run goes on.

Run: python -m convnas.benchmarks.search [--tasks nb201-78.6,...] [--rivals predictor,...]
     [--seeds 100-129]
Searches are lines of benchmarks/results/search.jsonl; when all asked for are there, search.json
and search.md beside it are written from all of them.
"""

from __future__ import annotations

import argparse
import json
import subprocess
from pathlib import Path
from typing import Any

import optuna

from ..record import RESULTS
from .rivals import PLAIN, searched
from .summary import write
from .tasks import TABLES, TASKS

KEPT = RESULTS / "search.jsonl"

RIVALS: dict[str, dict[str, Any]] = {
    "random": {},
    PLAIN: {},
    "tpe": {},
    "evolution": {},
    "local-search": {},
    "nni-evolution": {},
    "nni-tpe": {},
    "predictor": {},
    "gp": {},
}
"""Name -> what `searched` is given beside it; a variant's name begins with its strategy's."""
SLOW = {"gp": 10}
"""How many of the seeds a slow rival is given."""


def commit() -> str:
    told = subprocess.run(
        ["git", "-C", str(RESULTS), "rev-parse", "--short", "HEAD"],
        capture_output=True,
        text=True,
        check=False,
    )
    return told.stdout.strip()


def kept(path: Path = KEPT) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", default=",".join(TASKS))
    parser.add_argument("--rivals", default=",".join(RIVALS))
    parser.add_argument(
        "--seeds", default="100-129", help="first-last; 0 to 99 and 1000 on chose settings"
    )
    parser.add_argument("--kept", type=Path, default=KEPT, help="the lines, gone on with")
    asked = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    first, last = map(int, asked.seeds.split("-"))
    done = {(line["task"], line["rival"], line["seed"]) for line in kept(asked.kept)}
    now = commit()
    for rival in asked.rivals.split(","):
        for key in asked.tasks.split(","):
            if key.startswith(("macro", "accel")) and not TABLES.is_dir():
                print(f"{key}: left out, there is no folder {TABLES} (CONVNAS_TABLES)")
                continue
            if rival == PLAIN and key.startswith("accel"):
                continue  # 5,125 points of 36^6 x 48: it would never train any
            task = TASKS[key]()
            for seed in range(first, min(last, first + SLOW.get(rival, 10**6) - 1) + 1):
                if (key, rival, seed) in done:
                    continue
                found = searched(task, rival.partition(",")[0], seed, **RIVALS.get(rival, {}))
                line = {"task": key, "rival": rival, "seed": seed, "commit": now, **found.result()}
                with asked.kept.open("a") as lines:
                    lines.write(json.dumps(line) + "\n")
            print(f"{key}  {rival}: done", flush=True)
    write(kept(asked.kept), asked.kept.parent, now)


if __name__ == "__main__":
    main()
