"""Do the tests fail when the code is wrong? A sample of mutants, by cosmic-ray.

A mutant is one small change (a sign, a comparison, a number, a condition); it is killed when a test
of its room fails. Mutants are drawn by a seed, area by area in turn, until the minutes are spent.
The files are changed where they lie: run it in a checkout of its own, where nothing else runs.

Run: make mutation; kept in results/mutation.json, survivors with their changes, to which a person
adds the reasons (`why`).
"""

from __future__ import annotations

import argparse
import ast
import itertools
import os
import random
import tempfile
import time
from pathlib import Path
from typing import Any

from cosmic_ray.commands import init
from cosmic_ray.mutating import apply_mutation, mutate_and_test
from cosmic_ray.plugins import get_operator
from cosmic_ray.testing import run_tests
from cosmic_ray.util import restore_contents
from cosmic_ray.work_db import WorkDB, use_db
from cosmic_ray.work_item import MutationSpec, TestOutcome

from convnas.benchmarks.record import ROOT, keep

AREAS = {
    "the feasible set": (
        "search_space/feasible/*.py",
        "tests/search_space/feasible tests/search_space/chain",
    ),
    "strategies": ("strategies/*.py", "tests/strategies --ignore tests/strategies/nni_nas"),
    "training": ("evaluators/training/*.py", "tests/evaluators"),
    "the search loop": ("experiments/search/*.py", "tests/experiments/search"),
    "the guard": ("experiments/nni_backend/*.py", "tests/experiments/nni_backend/test_guard.py"),
}
SLOWEST = 900  # seconds; a mutant that takes longer hangs, and so is killed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--python", default=str(ROOT / ".venv/bin/python"), help="with the tests")
    asked = parser.parse_args()
    os.chdir(ROOT)
    os.environ["OMP_NUM_THREADS"] = "1"
    end = time.monotonic() + 60 * asked.minutes
    drawn = {area: shuffled(glob, asked.seed) for area, (glob, _) in AREAS.items()}
    result: dict[str, Any] = {
        "what": (__doc__ or "").splitlines()[0],
        "conditions": {"minutes": asked.minutes, "seed": asked.seed, "tool": "cosmic-ray"},
        "areas": {a: {"mutants": len(m), "tried": 0, "killed": 0} for a, m in drawn.items()},
        "survivors": [],
    }
    for area in drawn:
        outcome, output = run_tests(_command(asked.python, area), SLOWEST)
        if outcome != TestOutcome.SURVIVED:
            raise SystemExit(f"the tests of {area} fail without any change:\n{output[-3000:]}")
    in_turn = itertools.zip_longest(*([(area, m) for m in own] for area, own in drawn.items()))
    for area, mutant in (pair for pairs in in_turn for pair in pairs if pair is not None):
        if time.monotonic() > end:
            break
        if not _differs(mutant):
            continue
        found = mutate_and_test([mutant], _command(asked.python, area), SLOWEST)
        killed = found.test_outcome != TestOutcome.SURVIVED
        result["areas"][area]["tried"] += 1
        result["areas"][area]["killed"] += killed
        where = f"{mutant.module_path}:{mutant.start_pos[0]}"
        print(f"{'killed  ' if killed else 'SURVIVED'} {where} {mutant.operator_name}", flush=True)
        if not killed:
            result["survivors"].append({"where": where, "change": _change(found.diff), "why": ""})
        keep("mutation.json", _scored(result))


def _command(python: str, area: str) -> str:
    return f"{python} -m pytest -x -q -p no:cacheprovider {AREAS[area][1]}"


def shuffled(glob: str, seed: int) -> list[MutationSpec]:
    """All mutants of these files, in an order drawn by the seed."""
    paths = sorted(path.relative_to(ROOT) for path in ROOT.glob(glob))
    with tempfile.TemporaryDirectory() as folder:
        database = str(Path(folder) / "mutants.sqlite")
        with use_db(database, WorkDB.Mode.create) as work:
            init(paths, work, {})
            mutants = [mutant for item in work.work_items for mutant in item.mutations]
    mutants.sort(key=lambda m: (str(m.module_path), m.operator_name, m.occurrence))
    random.Random(seed).shuffle(mutants)
    return mutants


def _differs(mutant: MutationSpec) -> bool:
    """Whether more than annotations change, which nothing evaluates here."""
    operator = get_operator(mutant.operator_name)(**mutant.operator_args)
    before = Path(mutant.module_path).read_text()
    with restore_contents(mutant.module_path):
        _, after = apply_mutation(mutant.module_path, operator, mutant.occurrence)
    return after is not None and _bare(before) != _bare(after)


def _bare(code: str) -> str:
    tree = ast.parse(code)
    for node in ast.walk(tree):
        if isinstance(node, ast.arg | ast.AnnAssign):
            node.annotation = ast.Constant(None)
        if isinstance(node, ast.FunctionDef):
            node.returns = None
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
