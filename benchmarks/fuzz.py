"""The fuzz tests with many inputs, and how many crashed.

A crash is a traceback, an exit code other than 0, 1 and 2, more than one line of complaint, or a
file outside the run directory. Run: python -m convnas.benchmarks.fuzz [--examples 25000]; it takes
hours and any machine will do; kept in results/fuzz.json, where nothing crashed.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections import Counter

from convnas.benchmarks.record import ROOT, keep
from convnas.experiments.machine import conditions

TESTS = [f"tests/experiments/commands/test_fuzz{which}.py" for which in ("", "_files")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=25_000, help="of each test")
    parser.add_argument("--seed", type=int, default=0, help="of what is drawn")
    asked = parser.parse_args()
    command = [sys.executable, "-m", "pytest", f"--hypothesis-seed={asked.seed}", *TESTS]
    with tempfile.NamedTemporaryFile("r") as record:
        settings = {"EXAMPLES": str(asked.examples), "RECORD": record.name}
        environment = {f"CONVNAS_FUZZ_{name}": value for name, value in settings.items()}
        done = subprocess.run(
            command,
            cwd=ROOT,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            check=False,
        )
        tried = Counter(line.strip() for line in record)
    print(done.stdout[-4000:])
    if done.returncode:
        raise SystemExit("something crashed, see above: nothing is kept")
    counts: dict[str, dict[str, int]] = {}
    for (kind, status), count in sorted((line.rsplit(" ", 1), n) for line, n in tried.items()):
        counts.setdefault(kind, {})[f"exit {status}"] = count
    keep(
        "fuzz.json",
        {
            "what": (__doc__ or "").splitlines()[0],
            "conditions": conditions(),
            "seed": asked.seed,
            "inputs": sum(tried.values()),
            "kinds": counts,
            "crashes": 0,
        },
    )


if __name__ == "__main__":
    main()
