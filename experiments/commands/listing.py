"""The commands that set runs beside one another: `runs` and `diff`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .shared import JSON, emit, quiet_optuna

_STEPS = (1, 5, 10, 20, 40, 80, 160, 320, 640)
"""After how many trials two searches are compared."""


@click.command()
@click.argument("folder", default="runs", type=click.Path(path_type=Path))
@JSON
def runs(folder: Path, as_json: bool) -> None:
    """List the runs under FOLDER [default: runs], each with its state and its best."""
    quiet_optuna()
    from ...search_space import format_quantity
    from ..run.listing import runs_under, state_of
    from . import terminal as console

    states = [state_of(run) for run in runs_under(folder)]
    if as_json:
        emit(states)
        return
    rows = [["run", "state", "trials", "best", "", "flops"]]
    for each in states:
        if "problem" in each:
            rows.append([each["run"], each["problem"], "", "", "", ""])
            continue
        best = each["best"]
        rows.append(
            [
                each["run"],
                each["state"],
                f"{each['ended']}/{each['wanted']}",
                "-" if best is None else f"{best:.4f}",
                each["objective"],
                "-" if best is None else format_quantity(each["flops"]),
            ]
        )
    console.print_rows(rows)


@click.command()
@click.argument("one", metavar="RUN_DIR")
@click.argument("other", metavar="RUN_DIR")
@JSON
def diff(one: str, other: str, as_json: bool) -> None:
    """Set two runs side by side: settings that differ, the best of each, best score by trials."""
    quiet_optuna()
    from ..run.directory import RunDirectory
    from ..run.listing import differences
    from . import terminal as console

    found = differences(RunDirectory.existing(one), RunDirectory.existing(other))
    if as_json:
        emit(found)
        return
    rows = [["", *found["runs"]]]
    rows += [[key, *map(str, values)] for key, values in found["settings"].items()]
    rows += [["best", *map(_best, found["best"])]]
    longest = max(map(len, found["curves"]))
    for step in [each for each in _STEPS if each < longest] + [longest] * (longest > 0):
        after = [f"{c[step - 1]:.4f}" if step <= len(c) else "-" for c in found["curves"]]
        rows.append([f"best after {step}", *after])
    console.print_rows(rows)


def _best(found: dict[str, Any] | None) -> str:
    from ...evaluators.table import stages_text
    from ...search_space import Architecture, format_quantity

    if found is None:
        return "-"
    architecture = stages_text(Architecture.from_dict(found["architecture"]))
    return f"{found['score']:.4f}, {format_quantity(found['flops'])} flops: {architecture}"
