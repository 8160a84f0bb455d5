"""The fuzz tests with many inputs, and how many crashed.

A crash is a traceback, an exit code other than 0, 1 and 2, more than one line of complaint, or a
file outside the run directory. Run: python -m convnas.benchmarks.fuzz [--examples 25000]; it takes
hours and any machine will do; kept in results/fuzz.json, where nothing crashed.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys

from convnas.benchmarks.record import ROOT, keep
from convnas.experiments.machine import conditions


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=25_000, help="of each test")
    examples = parser.parse_args().examples
    environment = {**os.environ, "CONVNAS_FUZZ_EXAMPLES": str(examples)}
    command = [sys.executable, "-m", "pytest", "-v", "tests/experiments/commands/test_fuzz.py"]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    print(done.stdout[-4000:])
    if done.returncode:
        raise SystemExit("something crashed, see above: nothing is kept")
    tests = re.findall(r"::(test_\w+)\S* PASSED", done.stdout)
    keep(
        "fuzz.json",
        {
            "what": (__doc__ or "").splitlines()[0],
            "conditions": conditions(),
            "inputs": dict.fromkeys(tests, examples),
            "crashes": 0,
        },
    )


if __name__ == "__main__":
    main()
