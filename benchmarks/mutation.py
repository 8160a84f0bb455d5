"""Do the tests fail when the code is wrong? A sample of mutants, by cosmic-ray.

A mutant is one small change (a sign, a comparison, a number, a condition); it is killed when a test
of its area fails. Places are drawn by a seed, area by area in turn, and one change of each place:
an addition has eleven, all but one of them absurd. The files are changed where they lie: run it
in a checkout of its own, where nothing else runs.

Run: make mutation; kept in results/mutation.json, survivors with their changes, to which a person
adds the reasons (`why`), which the next run takes over. With --survivors only those without a
reason are tried again, after tests were added; the code must be as it was.
"""

from __future__ import annotations

import argparse
import ast
import itertools
import json
import os
import random
import resource
import tempfile
import time
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from cosmic_ray.commands import init
from cosmic_ray.mutating import apply_mutation, mutate_and_test
from cosmic_ray.plugins import get_operator
from cosmic_ray.testing import run_tests
from cosmic_ray.util import restore_contents
from cosmic_ray.work_db import WorkDB, use_db
from cosmic_ray.work_item import MutationSpec, TestOutcome

from convnas.benchmarks.record import RESULTS, ROOT, keep

AREAS = {
    "the feasible set": (
        "search_space/feasible/*.py",
        ["search_space/feasible/test_*.py", "search_space/chain/test_*.py"],
    ),
    "strategies": ("strategies/*.py", ["strategies/test_*.py", "strategies/optuna*/test_*.py"]),
    "training": (
        "evaluators/training/*.py",
        ["evaluators/training/test_*.py", "evaluators/test_*.py", "evaluators/data/test_*.py"],
    ),
    "the search loop": ("experiments/search/*.py", ["experiments/search/test_*.py"]),
    "the guard": (
        "experiments/nni_backend/guard.py",
        ["experiments/nni_backend/test_guard.py", "experiments/nni_backend/test_access.py"],
    ),
}
MEMORY = 12 * 2**30
"""Bytes, of each process: a mutant may count to infinity."""


class Area:
    """A part of the code, and how long the tests of it take, file by file."""

    def __init__(self, name: str, python: str) -> None:
        self.name, self.python = name, python
        self.code, globs = AREAS[name]
        self.tests = [path for glob in globs for path in sorted(Path("tests").glob(glob))]
        self.seconds = dict.fromkeys(self.tests, 0.0)
        with tempfile.NamedTemporaryFile(suffix=".xml") as report:
            asked = f"{self._command(self.tests)} -o junit_family=xunit1 --junitxml {report.name}"
            outcome, output = run_tests(asked, 3600)
            if outcome != TestOutcome.SURVIVED:
                raise SystemExit(f"the tests of {name} fail without any change:\n{output[-3000:]}")
            for case in ElementTree.parse(report.name).iter("testcase"):
                self.seconds[Path(case.attrib["file"])] += float(case.attrib["time"])
        self.limit = 60 + 3 * sum(self.seconds.values())

    def command_for(self, module: Path) -> str:
        """The tests that bear the module's name first, then the fast ones."""

        def order(test: Path) -> tuple[bool, float]:
            return module.stem not in test.stem, self.seconds[test]

        return self._command(sorted(self.tests, key=order))

    def _command(self, tests: list[Path]) -> str:
        return f"{self.python} -m pytest -x -q -p no:cacheprovider {' '.join(map(str, tests))}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mutants", type=int, default=150)
    parser.add_argument("--minutes", type=float, default=60, help="no mutant begins later")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--python", default=str(ROOT / ".venv/bin/python"), help="with the tests")
    parser.add_argument("--survivors", action="store_true", help="try those again, and no others")
    asked = parser.parse_args()
    os.chdir(ROOT)
    os.environ["OMP_NUM_THREADS"] = "1"
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    end = time.monotonic() + 60 * asked.minutes
    path = RESULTS / "mutation.json"
    before = json.loads(path.read_text()) if path.exists() else {"survivors": []}
    if asked.survivors:
        again(before, asked.python)
        return
    drawn = {area: shuffled(glob, asked.seed) for area, (glob, _) in AREAS.items()}
    areas = {name: Area(name, asked.python) for name in AREAS}
    reasons = {(one["file"], *one["change"]): one["why"] for one in before["survivors"]}
    result: dict[str, Any] = {
        "what": (__doc__ or "").splitlines()[0],
        "conditions": {"minutes": asked.minutes, "seed": asked.seed, "tool": "cosmic-ray"},
        "areas": {
            area: {"places": len(mutants), "tried": 0, "killed": 0, "by_the_clock": 0}
            for area, mutants in drawn.items()
        },
        "survivors": [],
    }
    in_turn = itertools.zip_longest(*([(area, m) for m in own] for area, own in drawn.items()))
    tried = 0
    for area, mutant in (pair for pairs in in_turn for pair in pairs if pair is not None):
        if time.monotonic() > end or tried == asked.mutants:
            break
        if not _differs(mutant):
            continue
        tried += 1
        survivor, output = _tested(mutant, areas[area])
        counts = result["areas"][area]
        counts["tried"] += 1
        counts["killed"] += survivor is None
        counts["by_the_clock"] += output == "timeout"
        if survivor is not None:
            why = reasons.get((survivor["file"], *survivor["change"]), "")
            result["survivors"].append({**survivor, "why": why})
        keep("mutation.json", _scored(result))


def again(kept: dict[str, Any], python: str) -> None:
    """Try the survivors without a reason once more, and keep what is left of them."""
    areas: dict[str, Area] = {}
    for one in [one for one in kept["survivors"] if not one["why"]]:
        mutant = MutationSpec(
            module_path=Path(one["file"]),
            operator_name=one["operator"],
            occurrence=one["occurrence"],
            start_pos=(one["line"], 0),
            end_pos=(one["line"], 0),
            operator_args=one["operator_args"],
        )
        area = areas.setdefault(one["area"], Area(one["area"], python))
        survivor, _ = _tested(mutant, area)
        if survivor is None:
            kept["survivors"].remove(one)
            kept["areas"][one["area"]]["killed"] += 1
        elif survivor["change"] != one["change"]:
            raise SystemExit(f"{one['file']} is not as it was: try all mutants")
        keep("mutation.json", _scored(kept))


def _tested(mutant: MutationSpec, area: Area) -> tuple[dict[str, Any] | None, str]:
    """What there is to say of a survivor, None where it was killed; what the tests said."""
    module = Path(mutant.module_path)
    began = time.monotonic()
    found = mutate_and_test([mutant], area.command_for(module), area.limit)
    if found.test_outcome not in (TestOutcome.SURVIVED, TestOutcome.KILLED):
        raise SystemExit(f"{module}: no test could be run:\n{found.output}")
    output, killed = found.output or "", found.test_outcome == TestOutcome.KILLED
    change = _change(found.diff or "")
    by = [line for line in output.splitlines() if line.startswith(("FAILED", "ERROR"))]
    print(
        "killed  " if killed else "SURVIVED",
        f"{module}:{mutant.start_pos[0]} {mutant.operator_name}, {time.monotonic() - began:.0f} s",
        *(by[:1] or [output[-200:]] if killed else change),
        sep="\n    ",
        flush=True,
    )
    if killed:
        return None, output
    survivor = {
        "area": area.name,
        "file": str(module),
        "line": mutant.start_pos[0],
        "change": change,
        "operator": mutant.operator_name,
        "operator_args": dict(mutant.operator_args),
        "occurrence": mutant.occurrence,
    }
    return survivor, output


def shuffled(glob: str, seed: int) -> list[MutationSpec]:
    """One mutant of each place in these files, in an order drawn by the seed."""
    paths = sorted(path.relative_to(ROOT) for path in ROOT.glob(glob))
    with tempfile.TemporaryDirectory() as folder:
        database = str(Path(folder) / "mutants.sqlite")
        with use_db(database, WorkDB.Mode.create) as work:
            init(paths, work, {})
            mutants = [mutant for item in work.work_items for mutant in item.mutations]
    mutants.sort(key=lambda m: (str(m.module_path), m.operator_name, m.occurrence))
    random.Random(seed).shuffle(mutants)
    places = {(m.module_path, m.start_pos): m for m in mutants}
    drawn = list(places.values())
    random.Random(seed).shuffle(drawn)
    return drawn


def _differs(mutant: MutationSpec) -> bool:
    """Whether it is a program, and more than annotations change, which nothing evaluates here."""
    operator = get_operator(mutant.operator_name)(**mutant.operator_args)
    before = Path(mutant.module_path).read_text()
    with restore_contents(mutant.module_path):
        _, after = apply_mutation(mutant.module_path, operator, mutant.occurrence)
    try:
        return after is not None and _bare(before) != _bare(after)
    except SyntaxError:
        return False


def _bare(code: str) -> str:
    tree = ast.parse(code)
    for node in ast.walk(tree):
        if isinstance(node, ast.arg | ast.AnnAssign):
            node.annotation = ast.Constant(None)
        if isinstance(node, ast.FunctionDef):
            node.returns = None
        if isinstance(node, ast.arguments):  # a star before keyword arguments, taken for a product
            node.args = [*node.posonlyargs, *node.args, *node.kwonlyargs]
            node.posonlyargs, node.kwonlyargs = [], []
    return ast.dump(tree)


def _scored(result: dict[str, Any]) -> dict[str, Any]:
    tried = sum(area["tried"] for area in result["areas"].values())
    killed = sum(area["killed"] for area in result["areas"].values())
    return {**result, "tried": tried, "killed": killed, "score": round(killed / max(tried, 1), 3)}


def _change(diff: str) -> list[str]:
    """The changed lines alone."""
    lines = diff.splitlines()
    return [line for line in lines if line[:1] in "+-" and not line.startswith(("+++", "---"))]


if __name__ == "__main__":
    main()
