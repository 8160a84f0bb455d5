"""Evaluate a whole space into one file, which is then an evaluator that answers at once.

What is done goes to a journal beside the file, a line an evaluation, so a tabulation that was
stopped or killed goes on where it was. The journal is gone when the table is whole.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ...evaluators.table import FORMAT, Table, TableRow, canonical_text, stages_text
from ...search_space.errors import InputError
from ..config.schema import ExperimentConfig
from ..errors import RunError
from ..machine import conditions
from ..run.outputs import check_target
from ..search.jobs import Job, Outcome, run_jobs, setup_of, slots_of
from ..search.prepare import Prepared
from ..search.signals import StopRequest
from ..workers.pool import WorkerPool

Tell = Callable[[int, int, str], None]
"""(evaluations done, in all, news)"""

_MOST = 1_000_000


class Journal:
    """The evaluations done so far. A line cut off by a kill is passed over."""

    def __init__(self, path: Path, header: dict[str, Any]) -> None:
        self._path, self._header = path, header
        self.records: dict[tuple[str, int], TableRow] = {}

    def open(self) -> None:
        """Read what there is, or begin. InputError where it is of another tabulation."""
        try:
            lines = self._path.read_text().splitlines() if self._path.exists() else []
            if not lines:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._path.write_text(json.dumps(self._header) + "\n")
                return
        except OSError as e:
            raise InputError("OUT", str(self._path), f"it cannot be used: {e.strerror}") from e
        if _parsed(lines[0]) != self._header:
            allowed = "it was begun with another config: remove it, or choose another OUT with -o"
            raise InputError("OUT", str(self._path), allowed)
        for line in lines[1:]:
            entry = _parsed(line)
            if entry is not None:
                stages = canonical_text(self._header["space"], entry["stages"])
                self.records[stages, entry["seed"]] = TableRow.from_json(entry["record"])
        with self._path.open("a") as file:
            file.write("\n")  # ends a line that was cut off

    def add(self, stages: str, seed: int, record: TableRow) -> None:
        """On disk before it counts as done, so that a kill loses only what is running."""
        entry = {"stages": stages, "seed": seed, "record": record.to_json()}
        with self._path.open("a") as file:
            file.write(json.dumps(entry) + "\n")
        self.records[stages, seed] = record

    def remove(self) -> None:
        self._path.unlink()


def tabulate(
    prepared: Prepared, out: Path, *, seeds: int, tell: Tell = lambda done, all_, news: None
) -> Table | None:
    """Evaluate every architecture inside the config's budget, with seeds 0 to `seeds` - 1.

    The table is written to `out`; None where the user stopped it before the end. Raises
    InputError, and RunError when workers cannot start.
    """
    config, feasible = prepared.config, prepared.feasible
    total = feasible.count * seeds
    if total > _MOST:
        allowed = f"at most {_MOST:,} evaluations go into a table, this space asks for {total:,}"
        raise InputError("space", "this space", allowed)
    check_target(out)
    if os.path.lexists(out):
        raise InputError("OUT", str(out), "it is there already: choose another with -o")
    slots = slots_of(config, feasible.dearest(), trials=total)
    journal = Journal(out.with_name(out.name + ".part"), _what(config, seeds))
    journal.open()

    def left() -> Iterator[Job]:
        for seed in range(seeds):
            for arch in feasible:
                if (stages_text(arch), seed) not in journal.records:
                    yield Job(arch, seed)

    def done(job: Job, outcome: Outcome) -> None:
        stages = stages_text(job.architecture)
        journal.add(stages, job.seed, record_of(outcome))
        news = f"seed {job.seed}  {outcome.reason or f'{outcome.score:.4f}'}  {stages}"
        tell(len(journal.records), total, news)

    setup = setup_of(config, feasible.cheapest())
    log = out.with_name(out.name + ".log")
    with (
        WorkerPool(slots, setup, log=log, timeout=config.trial_timeout) as pool,
        StopRequest(pool.wake) as stop,
    ):
        if not run_jobs(left(), pool, done, stopped=lambda: stop.asked):
            return None
    made = {**conditions(slots[0]), "date": time.strftime("%Y-%m-%d"), "workers": len(slots)}
    header = {**_what(config, seeds), "made": made}
    # In the order of the feasible set, so that it does not matter which evaluation ended first.
    rows = {
        stages: [journal.records[stages, seed] for seed in range(seeds)]
        for stages in map(stages_text, feasible)
    }
    table = Table(header, rows)
    try:
        table.save(out)
    except OSError as e:
        raise RunError(f"{out} cannot be written: {e.strerror}") from e
    journal.remove()
    log.unlink(missing_ok=True)
    return table


def _what(config: ExperimentConfig, seeds: int) -> dict[str, Any]:
    """What the table is of: the part of its header that a continued tabulation must share."""
    kept = config.model_dump(mode="json", include={"space", "budget", "data", "evaluator", "seed"})
    return {"convnas_table": FORMAT, "seeds": seeds, **kept}


def record_of(outcome: Outcome) -> TableRow:
    """An outcome as a table keeps it."""
    if outcome.score is None:
        return TableRow((), {}, outcome.reason or "no reason was given")
    # A training's score is one of its other metrics, chosen anew where the table is used.
    epochs = tuple(
        {name: value for name, value in epoch.items() if name != "score" or "accuracy" not in epoch}
        for epoch in outcome.epochs
    )
    last = epochs[-1] if epochs else {}
    more = {name: value for name, value in outcome.metrics.items() if name not in last}
    if not outcome.epochs:
        more["score"] = outcome.score
    return TableRow(epochs, more)


def _parsed(line: str) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return None
