"""Trainings of small networks on one GPU, stage by stage; each row is kept as soon as it is there.

Stages: `profile`, the share of time in kernels; `switches`, every switch in turn; `rivals`, plain
loops beside us, one with its data on the GPU too; `at-once`, 1, 2, 4 and 8 processes; `batch`,
which batch size ranks as long trainings do, and how fast it is. Every way has a process of its own,
the ways take turns in another order for every network, and each trains it twice: cold and warm.
Images are made here (CIFAR-10's shape, labels that can be learned). Needs torch, numpy, yaml, and
for `batch` scipy.
Run: python -m convnas.benchmarks.evaluator_gpu STAGE [--device cuda] [--trials 8]
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from convnas import Architecture, Budget, SearchSpace
from convnas.benchmarks.gpu_ways import LOOPS, SWITCHED
from convnas.benchmarks.timing import conditions

if TYPE_CHECKING:
    from typing_extensions import Self

RESULTS = Path(__file__).parent / "results"
STAGE = {
    "conv": ["vanilla", "octave", "hetconv", "res2net"],
    "alpha": [0.25, 0.5],
    "p": [4],
    "scales": [4],
    "depth": [1, 2, 3],
}
INPUT = (3, 32, 32)
Row = dict[str, Any]


class Way:
    """A process that trains in one way; see `gpu_ways`."""

    def __init__(self, name: str, told: Mapping[str, Any]) -> None:
        self.name = name
        words = json.dumps({"way": name, **told})
        self._process = subprocess.Popen(
            [sys.executable, "-m", "convnas.benchmarks.gpu_ways", words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, arch: Architecture, seed: int = 0, **more: Any) -> Row:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        asked = {"architecture": arch.to_dict(), "seed": seed, **more}
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"{self.name} ended with {self._process.wait()}")
        found: Row = json.loads(answer)
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


class ProcessATrial:
    """The plain loop, a new process for each trial: start-up, imports and data are in its time."""

    name = "process a trial"

    def __init__(self, told: Mapping[str, Any]) -> None:
        self._told = {key: told[key] for key in ("data", "device", "epochs", "batch")}

    def ask(self, arch: Architecture, seed: int = 0) -> Row:
        words = json.dumps({"architecture": arch.to_dict(), "seed": seed, **self._told})
        argv = [sys.executable, "-m", "convnas.benchmarks.dataloader_trial", words]
        began = time.perf_counter()
        said = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
        taken = time.perf_counter() - began
        return {"cold": taken, "warm": taken, "accuracy": float(said)}


class Kept:
    """Rows in a file of JSON lines, the conditions first; a row is on the disk before the next."""

    def __init__(self, path: Path, about: Mapping[str, Any]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path, self.rows = path, list[Row]()
        path.write_text(json.dumps({"conditions": about}) + "\n")

    def add(self, row: Row) -> None:
        self.rows.append(row)
        with self._path.open("a") as file:
            file.write(json.dumps(row) + "\n")
        print(json.dumps({k: v for k, v in row.items() if k != "kernels"}), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stage", choices=list(STAGES))
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--trials", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--images", type=int, default=60_000)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--batches", type=int, nargs="+", default=[64, 128, 256, 512, 1024])
    parser.add_argument("--at-once", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--out", type=Path, default=RESULTS)
    asked = parser.parse_args()
    space = SearchSpace.from_config(
        {"backbone": "resnet-cifar", "input": list(INPUT), "classes": 10, "stage": STAGE}
    )
    drawn = space.within(Budget(flops="40M")).sample(np.random.default_rng(0), asked.trials + 1)
    settings = {k: v for k, v in vars(asked).items() if k != "out"}
    about = {**conditions(asked.device), **settings}
    kept = Kept(asked.out / f"evaluator_{asked.device.replace(':', '')}_{asked.stage}.jsonl", about)
    with tempfile.TemporaryDirectory() as folder:
        told = {
            "data": {"name": "npz", "path": str(_made(Path(folder), asked.images))},
            "input": INPUT,
            "device": asked.device,
            "epochs": asked.epochs,
            "batch": asked.batch,
        }
        STAGES[asked.stage](told, drawn, kept, asked)
    print(json.dumps(_summary(kept.rows), indent=1))


Drawn = Sequence[Architecture]


def _compare(ways: Sequence[Way | ProcessATrial], drawn: Drawn, kept: Kept, device: str) -> None:
    """Every way for every network, in an order that moves on; the first network warms up."""
    for way in ways:
        way.ask(drawn[0])
    for number, arch in enumerate(drawn[1:]):
        turn = number % len(ways)
        for way in [*ways[turn:], *ways[:turn]]:
            with _watched(device) as busy:
                row = {"network": number, "way": way.name, **way.ask(arch, number)}
            if busy:
                row["busy_percent"] = round(statistics.fmean(busy), 1)
            kept.add(row)


def _switches(told: Row, drawn: Drawn, kept: Kept, asked: argparse.Namespace) -> None:
    with ExitStack() as open_:
        ways = [open_.enter_context(Way(name, told)) for name in SWITCHED]
        _compare(ways, drawn, kept, asked.device)


def _rivals(told: Row, drawn: Drawn, kept: Kept, asked: argparse.Namespace) -> None:
    with ExitStack() as open_:
        ways: list[Way | ProcessATrial] = [
            open_.enter_context(Way(name, told)) for name in ("convnas", *LOOPS)
        ]
        _compare([*ways, ProcessATrial(told)], drawn, kept, asked.device)


def _profile(told: Row, drawn: Drawn, kept: Kept, asked: argparse.Namespace) -> None:
    with Way("convnas", told) as way:
        for number, arch in enumerate(drawn[1:4]):
            row = way.ask(arch, profile=True)
            kept.add({"network": str(arch), "number": number, "way": way.name, **row})


def _at_once(told: Row, drawn: Drawn, kept: Kept, asked: argparse.Namespace) -> None:
    for count in asked.at_once:
        with ExitStack() as open_:
            ways = [open_.enter_context(Way("convnas", told)) for _ in range(count)]
            with ThreadPoolExecutor(count) as pool:
                list(pool.map(lambda way: way.ask(drawn[0]), ways))  # all are up
                began = time.perf_counter()
                # Every process trains the same networks: equal work for each.
                list(pool.map(lambda way: [way.ask(arch) for arch in drawn[1:]], ways))
                taken = time.perf_counter() - began
        trainings = 2 * count * (len(drawn) - 1)  # cold and warm
        rate = round(3600 * trainings / taken, 1)
        kept.add({"at_once": count, "seconds": taken, "trainings_an_hour": rate})


def _batch(told: Row, drawn: Drawn, kept: Kept, asked: argparse.Namespace) -> None:
    """Kendall's tau of brief trainings with a batch size and long ones with 64, another seed."""
    from scipy.stats import kendalltau

    long = told | {"epochs": 4 * asked.epochs, "batch": 64}
    with Way("convnas", long) as way:
        truth = [way.ask(arch, 1)["accuracy"] for arch in drawn[1:]]
    for batch in asked.batches:
        with Way("convnas", told | {"batch": batch}) as way:
            way.ask(drawn[0])
            found = [way.ask(arch, 0) for arch in drawn[1:]]
        warm = statistics.fmean(row["warm"] for row in found)
        tau = float(kendalltau([row["accuracy"] for row in found], truth).statistic)
        rate = round(3600 / warm, 1)
        kept.add({"batch": batch, "tau": round(tau, 3), "trainings_an_hour": rate})


STAGES: dict[str, Callable[[Row, Drawn, Kept, argparse.Namespace], None]] = {
    "profile": _profile,
    "switches": _switches,
    "rivals": _rivals,
    "at-once": _at_once,
    "batch": _batch,
}


def _made(folder: Path, images: int) -> Path:
    """A file of `images` pictures of 32 x 32 coloured pixels: a class's pattern and noise."""
    rng = np.random.default_rng(0)
    labels = rng.integers(10, size=images)
    patterns = rng.integers(64, 192, (10, *INPUT))
    pictures = np.empty((images, *INPUT), np.uint8)
    for start in range(0, images, 5000):
        part = labels[start : start + 5000]
        pictures[start : start + 5000] = patterns[part] + rng.integers(-64, 64, (len(part), *INPUT))
    np.savez(folder / "made.npz", x=pictures, y=labels)
    return folder / "made.npz"


@contextmanager
def _watched(device: str) -> Iterator[list[float]]:
    """Meanwhile the driver's word on how busy the GPU is, in percent. What is timed is timed in
    another process, so asking and waiting for the last answer are not in it."""
    busy: list[float] = []
    smi = shutil.which("nvidia-smi")
    if smi is None or device == "cpu":
        yield busy
        return
    number = device.partition(":")[2] or "0"
    argv = [smi, f"--id={number}", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(0.25):
            said = subprocess.run(argv, capture_output=True, text=True, check=False).stdout.strip()
            if said.isdigit():
                busy.append(float(said))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield busy
    finally:
        ended.set()
        watcher.join()


def _summary(rows: Sequence[Row]) -> dict[str, Any]:
    """Of ways: trainings an hour, and how many times as long as convnas's each takes, network by
    network: median and quartiles."""
    ways: dict[str, dict[int, Row]] = {}
    for row in rows:
        if "warm" in row:
            ways.setdefault(row["way"], {})[row["network"]] = row
    told = {}
    for way, found in ways.items():
        each: dict[str, Any] = {"accuracy": round(_mean(found, "accuracy"), 4)}
        for time_ in ("cold", "warm"):
            each[f"{time_}_an_hour"] = round(3600 / _mean(found, time_), 1)
            ours = ways["convnas"]
            ratios = [row[time_] / ours[number][time_] for number, row in found.items()]
            quartiles = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
            each[f"{time_}_times_as_long"] = [round(each, 3) for each in quartiles]
        told[way] = each
    return told


def _mean(found: Mapping[int, Row], name: str) -> float:
    return statistics.fmean(row[name] for row in found.values())


if __name__ == "__main__":
    main()
