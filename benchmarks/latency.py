"""How well pieces measured in ONNX Runtime rank whole networks that are measured too.

For each of two spaces the file of `convnas latency --pack` is made and run several times, each a
process of its own; error and Kendall's tau are over 20 whole networks that the sum's correction
has not seen. Run: python -m convnas.benchmarks.latency [--runs 5], on a machine with nothing else
to do; kept in results/latency.json.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from convnas import SearchSpace
from convnas.benchmarks.record import keep
from convnas.experiments.machine import conditions
from convnas.experiments.search.latency import pack_of, table_from

STAGES: dict[str, dict[str, Any]] = {
    "vanilla and hetconv, widths .5 to 2": {
        "conv": ["vanilla", "hetconv"],
        "p": [4],
        "width": [0.5, 1, 2],
    },
    "vanilla, octave and hetconv, widths .5 and 1": {
        "conv": ["vanilla", "octave", "hetconv"],
        "alpha": [0.5],
        "p": [4],
        "width": [0.5, 1],
    },
}
SECTION = {"runtime": "onnxruntime", "threads": 1}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    asked = parser.parse_args()
    rows = {}
    for name, stage in STAGES.items():
        rows[name] = measured(stage, asked.runs)
        print(name, rows[name], flush=True)
    result = {
        "what": (__doc__ or "").splitlines()[0],
        "conditions": {**conditions(), "runs": asked.runs, **SECTION},
        "spaces": rows,
    }
    keep("latency.json", result)


def measured(stage: dict[str, Any], runs: int) -> dict[str, Any]:
    space = SearchSpace.from_config(
        {"backbone": "resnet-cifar", "input": [3, 32, 32], "classes": 10, "stage": stage}
    )
    found: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        pack = Path(folder) / "pack.pyz"
        pack.write_bytes(pack_of(SECTION, space, lambda done, total: None))
        for _ in range(runs):
            subprocess.run(
                [sys.executable, str(pack)], cwd=folder, check=True, stdout=subprocess.DEVNULL
            )
            table = table_from(SECTION, space, Path(folder) / "answer.json")
            for name in ("tau", "plain_tau", "error", "plain_error", "worst", "spread"):
                found.setdefault(name, []).append(getattr(table, name))
    shown = {
        name: {"median": statistics.median(values), "least": min(values), "most": max(values)}
        for name, values in found.items()
    }
    return {"networks": table.networks, "pieces": len(table.times), **shown}


if __name__ == "__main__":
    main()
