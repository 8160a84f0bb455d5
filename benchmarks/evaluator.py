"""Trials an hour: warm workers against a process a trial and against a DataLoader in this process.

The three ways train the same architectures of the digits demo in turn, one thread each, with the
same recipe. Wall and processor time are kept: on a busy machine the wall clock measures the others
too. Run: python -m convnas.benchmarks.evaluator [--epochs 1], for the demo's epochs or others.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from convnas import Architecture, build_network
from convnas.benchmarks import dataloader_trial
from convnas.benchmarks.record import keep
from convnas.benchmarks.timing import conditions
from convnas.evaluators import create, load_data
from convnas.experiments import read_config
from convnas.experiments.config.schema import demo_config
from convnas.experiments.search.jobs import Job, Outcome, run_jobs, setup_of
from convnas.experiments.workers.pool import WorkerPool

WAYS = ("convnas", "DataLoader in process", "process a trial")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--epochs", type=int, help="of a training [default: the demo's]")
    asked = parser.parse_args()
    trials = asked.trials
    torch.set_num_threads(1)
    config = read_config(demo_config(), device="cpu")
    epochs = asked.epochs or int(config.evaluator["epochs"])
    config.evaluator["epochs"] = epochs
    archs = config.feasible(config.search_space()).sample(np.random.default_rng(0), trials + 1)
    began = conditions("cpu")
    rows: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    setup = setup_of(config, archs[0])
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        with WorkerPool(1, setup, log=Path(folder) / "log.txt") as pool:
            _in_worker(pool, archs[0], 0)
            first = time.perf_counter() - start
            dataloader_trial.train(archs[0], epochs=1, seed=0)
            for seed, arch in enumerate(archs[1:]):
                (worker,) = pool.pids
                ours = partial(_in_worker, pool, arch, seed)
                here = partial(dataloader_trial.train, arch, epochs=epochs, seed=seed)
                alone = partial(_own_process, arch, epochs, seed)
                rows[WAYS[0]].append(_timed(ours, partial(_ticks, worker)))
                rows[WAYS[1]].append(_timed(here, time.process_time))
                rows[WAYS[2]].append(_timed(alone, _children))
                print(seed + 1, {way: rows[way][-1] for way in WAYS}, flush=True)
    result = {
        "conditions": {**began, "load_average_at_end": round(os.getloadavg()[0], 1)},
        "trials": trials,
        "epochs": epochs,
        "seconds_to_first_result_of_a_cold_pool": round(first, 2),
        "ways": {way: _summary(rows[way]) for way in WAYS},
        "ratios": {
            way: {clock: _ratio(rows, way, clock) for clock in ("wall", "processor")}
            for way in WAYS[1:]
        },
        "over_bare_kernels": _over_kernels(config, archs[1], epochs),
    }
    part = f"_epochs_{epochs}" if asked.epochs else ""
    keep(f"evaluator_cpu{part}.json", result)
    print(json.dumps(result, indent=1))


def _timed(run: Callable[[], float], clock: Callable[[], float]) -> dict[str, float]:
    wall, processor = time.perf_counter(), clock()
    accuracy = run()
    return {
        "wall": time.perf_counter() - wall,
        "processor": clock() - processor,
        "accuracy": accuracy,
    }


def _in_worker(pool: WorkerPool, arch: Architecture, seed: int) -> float:
    found: list[Outcome] = []
    run_jobs([Job(arch, seed)], pool, lambda job, outcome: found.append(outcome))
    (outcome,) = found
    if outcome.score is None:
        raise RuntimeError(outcome.reason)
    return outcome.score


def _own_process(arch: Architecture, epochs: int, seed: int) -> float:
    told = json.dumps({"architecture": arch.to_dict(), "epochs": epochs, "seed": seed})
    argv = [sys.executable, "-m", "convnas.benchmarks.dataloader_trial", told]
    return float(subprocess.run(argv, capture_output=True, text=True, check=True).stdout)


def _ticks(pid: int) -> float:
    """Processor seconds of a process, from Linux."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _summary(rows: list[dict[str, float]]) -> dict[str, float]:
    wall = sum(row["wall"] for row in rows)
    processor = sum(row["processor"] for row in rows)
    return {
        "trials_an_hour": round(3600 * len(rows) / wall, 1),
        "trials_an_hour_of_processor": round(3600 * len(rows) / processor, 1),
        "accuracy": round(statistics.mean(row["accuracy"] for row in rows), 4),
    }


def _ratio(rows: dict[str, list[dict[str, float]]], way: str, clock: str) -> dict[str, float]:
    """How many times longer a trial takes `way`: median and quartiles over the trials."""
    ratios = [
        theirs[clock] / ours[clock] for ours, theirs in zip(rows[WAYS[0]], rows[way], strict=True)
    ]
    low, middle, high = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
    return {"median": round(middle, 2), "low": round(low, 2), "high": round(high, 2)}


def _over_kernels(config: Any, arch: Architecture, epochs: int) -> dict[str, float]:
    """A proxy training over its forward and backward passes alone, on batches that lie ready.

    Gradients are added up, not cleared, which costs the bare passes about what clearing would.
    """
    data = load_data(config.data, seed=0, input=arch.input, classes=arch.classes).search
    steps = -(-len(data.train) // dataloader_trial.BATCH)
    size = len(data.train) // steps
    chosen = slice(0, size)
    layout = torch.channels_last
    images = data.train.batch(chosen).contiguous(memory_format=layout)
    validation = data.validation.batch(slice(0, dataloader_trial.BATCH))
    validation = validation.contiguous(memory_format=layout)
    labels = data.train.labels[chosen]
    net = build_network(arch)
    net.to(memory_format=layout)
    evaluator = create(
        config.evaluator, config.data, input=arch.input, classes=arch.classes, device="cpu"
    )

    def bare() -> None:
        for _ in range(epochs):
            net.train()
            for _ in range(steps):
                F.cross_entropy(net(images), labels).backward()  # type: ignore[no-untyped-call]
            net.eval()
            with torch.inference_mode():
                for _ in range(-(-len(data.validation) // dataloader_trial.BATCH)):
                    net(validation)

    ratios = []
    for _ in range(4):
        times = []
        for run in (bare, lambda: evaluator.evaluate(arch, seed=0)):
            start = time.thread_time()
            run()
            # Backward passes on a CPU run in the thread that asks for them.
            times.append(time.thread_time() - start)
        ratios.append(times[1] / times[0])
    ratios = sorted(ratios[1:])
    return {"median": round(ratios[1], 3), "low": round(ratios[0], 3), "high": round(ratios[2], 3)}


if __name__ == "__main__":
    main()
