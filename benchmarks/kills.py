"""kill -9 of each process of a run in each of its phases, and what is lost, repeated or left.

A run is launch, the fork server and its workers; under NNI its manager and the tuner too. One of
them is killed at a random moment of start-up, training, the final choice or closing, of a run by
itself, under NNI or on PostgreSQL. Whatever the kill left is then launched again, and the study,
the processes, the ports and the files are looked at.

Run: python -m convnas.benchmarks.kills [--kills 100]; about half an hour of one core; kept in
benchmarks/results/kills.json, with its faults if there are any.
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np

from convnas.benchmarks.record import keep
from convnas.experiments.machine import conditions
from convnas.tests.experiments.cluster.postgres import Server
from convnas.tests.experiments.killing import CLOSING, FINAL, START, TRAINING, Killed, Missed

PLACES = ("local", "nni", "postgres")
PHASES = (START, TRAINING, FINAL, CLOSING)
VICTIMS = ("launch", "fork server", "worker")
OF_NNI = ("manager", "tuner")
"""They live while trials are made, and not in the final choice."""

Cell = tuple[str, str, str]


def cells() -> list[Cell]:
    """Place, phase and victim."""
    found = list(itertools.product(PLACES, PHASES, VICTIMS))
    return found + [("nni", phase, victim) for phase in (START, TRAINING) for victim in OF_NNI]


def kill(cell: Cell, rng: np.random.Generator, server: Server, folder: Path) -> Killed:
    """One kill, and the run launched again; tried anew where the moment was missed."""
    place, phase, victim = cell
    wait = float(rng.uniform())
    for attempt in range(8):
        url = server.new_database() if place == "postgres" else None
        run = Killed(folder / str(attempt), url=url, nni=place == "nni")
        try:
            # Earlier at each attempt, so that it is hit in the end.
            run.kill(victim, phase, wait * 0.6**attempt)
        except Missed:
            run.clear_away()
            continue
        run.go_on()
        return run
    raise SystemExit(f"{cell}: never hit")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--only", default="", help="word that place, phase or victim must be")
    asked = parser.parse_args()
    chosen = [cell for cell in cells() if not asked.only or asked.only in cell]
    done: Counter[Cell] = Counter()
    found: Counter[str] = Counter()
    faults: list[str] = []
    with Server() as server, tempfile.TemporaryDirectory(prefix="convnas-kills-") as folder:
        os.environ["PGPASSWORD"] = server.password
        for number, cell in zip(range(asked.kills), itertools.cycle(chosen), strict=False):
            rng = np.random.default_rng((asked.seed, number))
            run = kill(cell, rng, server, Path(folder) / str(number))
            done[cell] += 1
            found.update(run.counts())
            faults += [f"{', '.join(cell)}: {fault}" for fault in run.faults]
            print(number, *cell, *(run.faults or ["well"]), sep="; ", flush=True)
    by: dict[str, dict[str, dict[str, int]]] = {}
    for (place, phase, victim), count in done.items():
        by.setdefault(place, {}).setdefault(phase, {})[victim] = count
    result = {
        "what": (__doc__ or "").splitlines()[0],
        "conditions": conditions(),
        "seed": asked.seed,
        "kills": done.total(),
        "by": by,
        **found,
        "faults": faults,
    }
    if asked.only:
        print(result)
    else:
        keep("kills.json", result)
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
