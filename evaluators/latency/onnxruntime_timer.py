"""Times the ONNX networks of a pack in ONNX Runtime. It needs onnxruntime and nothing else:

    python3 PACK [-o ANSWER]

ANSWER (answer.json, unless named) goes back to where the pack was made:
convnas latency CONFIG --read ANSWER
"""

import argparse
import json
import os
import platform
import random
import re
import statistics
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROUNDS = 5
"""Times that each network is come back to: what slows the machine for some seconds then falls on
a part of every network's samples, not on all samples of a few networks."""

WARM_UP = 0.01
"""Seconds, and at least three runs, before a round's samples of a network."""

SAMPLE = 0.0005
"""A sample's least duration in seconds: well above what the clock and a loop cost."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="latency pack", description=__doc__)
    parser.add_argument("-o", "--out", default="answer.json", metavar="ANSWER")
    target = parser.parse_args().out
    # Run from a pack, this file lies within it: PACK/__main__.py.
    with zipfile.ZipFile(Path(__file__).parent) as pack:
        asked = json.loads(pack.read("pack.json"))
        answer = {
            "pack": asked["pack"],
            "about": about(asked["settings"]),
            "times": {key: quartiles(found) for key, found in sampled(pack, asked).items()},
        }
    # Whole or not at all.
    unfinished = Path(f"{target}.part")
    unfinished.write_text(json.dumps(answer, indent=1) + "\n", encoding="utf-8")
    os.replace(unfinished, target)
    print(f"{len(answer['times'])} networks: {target}")


def about(settings: dict[str, Any]) -> dict[str, Any]:
    """Where the times are from. Ends the program where it cannot measure as asked."""
    try:
        import onnxruntime
    except ImportError:
        sys.exit("latency pack: onnxruntime is not installed; pip install onnxruntime")
    present = onnxruntime.get_available_providers()
    if settings["provider"] not in present:
        sys.exit(f"latency pack: no {settings['provider']} here; there are {', '.join(present)}")
    machine = platform.processor() or platform.machine()
    cores = Path("/proc/cpuinfo")
    if cores.exists():
        named = re.search(r"model name\s*:\s*(.+)", cores.read_text(encoding="utf-8"))
        machine = named[1].strip() if named else machine
    return {
        **settings,
        "machine": machine,
        "system": platform.system(),
        "onnxruntime": onnxruntime.__version__,
    }


def sampled(pack: zipfile.ZipFile, asked: dict[str, Any]) -> dict[str, list[int]]:
    """Nanoseconds of each network: samples of ROUNDS rounds, each in an order of its own."""
    settings, keys = asked["settings"], list(asked["keys"])
    share = -(-asked["samples"] // ROUNDS)
    found: dict[str, list[int]] = {key: [] for key in keys}
    for number in range(ROUNDS):
        random.Random(number).shuffle(keys)
        for done, key in enumerate(keys, 1):
            found[key] += samples(pack.read(f"{key}.onnx"), settings, share)
            if done % 25 == 0 or done == len(keys):
                told = f"round {number + 1} of {ROUNDS}: {done}/{len(keys)}"
                print(told, file=sys.stderr, flush=True)
    return found


def samples(model: bytes, settings: dict[str, Any], count: int) -> Iterator[int]:
    """On a GPU with the copies there and back, as a session is used."""
    import numpy as np
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = settings["threads"]
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    provider = settings["provider"]
    session = onnxruntime.InferenceSession(model, options, providers=[provider])
    if session.get_providers()[0] != provider:
        sys.exit(f"latency pack: {provider} is there but does not start")
    rng = np.random.default_rng(0)
    given = {
        each.name: rng.standard_normal(each.shape, dtype=np.float32)
        for each in session.get_inputs()
    }
    runs, start = 0, time.perf_counter()
    while runs < 3 or time.perf_counter() - start < WARM_UP:
        session.run(None, given)
        runs += 1
    row = 1 + int(SAMPLE * runs / (time.perf_counter() - start))
    for _ in range(count):
        begun = time.perf_counter_ns()
        for _ in range(row):
            session.run(None, given)
        yield (time.perf_counter_ns() - begun) // row


def quartiles(found: list[int]) -> list[int]:
    """[median, lower, upper]"""
    low, median, high = statistics.quantiles(found, n=4)
    return [max(1, int(each)) for each in (median, low, high)]


if __name__ == "__main__":
    main()
