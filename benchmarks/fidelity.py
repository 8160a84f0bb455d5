"""The two fidelity reports that are kept: of the demo, and of a space where widths differ.

Each is `convnas fidelity`, of which the table, the picture and the figures are kept in
results/fidelity. Rankings: any machine will do, but the seconds are its own.

Run: python -m convnas.benchmarks.fidelity; about a quarter of an hour.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from convnas.benchmarks.record import RESULTS, keep
from convnas.experiments.analysis.fidelity import Asked, fidelity
from convnas.experiments.config.schema import demo_config
from convnas.experiments.search.prepare import prepared_from

KEPT = RESULTS / "fidelity"
SPACES = {"demo": demo_config(), "widths": KEPT / "widths.yaml"}


def main() -> None:
    for name, config in SPACES.items():
        with tempfile.TemporaryDirectory() as folder:
            found = fidelity(prepared_from(config), Path(folder), Asked(), print)
            if found is None:
                raise SystemExit("stopped: nothing is kept")
            for kind in ("md", "png"):
                shutil.copy(Path(folder) / f"fidelity.{kind}", KEPT / f"{name}.{kind}")
        keep(f"fidelity/{name}.json", found)


if __name__ == "__main__":
    main()
