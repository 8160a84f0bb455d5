"""The commands that read a run: `status`, `export`, `report`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ..export.formats import FORMATS
from .shared import JSON, WholeNumber, emit, out_option, quiet_optuna


@click.command()
@click.argument("run_dir")
@JSON
def status(run_dir: str, as_json: bool) -> None:
    """Say where a run stands."""
    quiet_optuna()
    from ..run import results
    from ..run.directory import RunDirectory
    from ..search import zero_cost
    from . import terminal as console

    run = RunDirectory.existing(run_dir)
    read = results.Results.of(run)
    state = results.status_of(run, read)
    if as_json:
        emit(state)
        return
    trials = "  ".join(f"{word} {count}" for word, count in state["trials"].items())
    waiting = state["trials"]["running"]
    if waiting and not state["active"]:
        # Whoever trained them is gone; the next launch takes them up.
        trials = trials.replace(f"running {waiting}", f"running 0, {waiting} to be taken up again")
    going = f"going on, workers {state['workers']}" if state["active"] else "not running"
    console.print_lines(f"{state['name']}: {going}", f"trials of {state['wanted']}: {trials}")
    console.print_lines(*(f"failed {n} x: {reason}" for reason, n in state["failures"].items()))
    console.print_lines(
        *(f"{n['node']} trains {n['trial']}, heard {n['silent']:g} s ago" for n in state["nodes"])
    )
    console.print_lines(*said_of_rungs(state["rungs"]), *zero_cost.said_of(state["zero_cost"]))
    if state["best"]:
        show_found(read)


@click.command()
@click.argument("run_dir")
@click.option(
    "--top", type=WholeNumber(min=1), default=1, metavar="K", help="The K best [default: 1]."
)
@click.option("--front", is_flag=True, help="The whole Pareto front, of several objectives.")
@click.option(
    "--trial",
    type=WholeNumber(min=0),
    metavar="N",
    help="The architecture of trial N, such as one point of the front.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(list(FORMATS)),
    default="yaml",
    help="All but yaml and json with trained weights (trained now if they are not yet). py: a"
    " module that needs torch alone; timm: one that also registers with timm [default: yaml].",
)
@click.option(
    "--fold", is_flag=True, help="For inference: batch norms folded into the convolutions."
)
@click.option(
    "--int8",
    is_flag=True,
    help="With --format onnx: 8-bit integers, calibrated on training images.",
)
@out_option("OUT", "File, or folder for several [default: in the run directory].")
@JSON
def export(
    run_dir: str,
    top: int,
    front: bool,
    trial: int | None,
    form: str,
    fold: bool,
    int8: bool,
    out: Path | None,
    as_json: bool,
) -> None:
    """Hand over the best architectures of a run."""
    quiet_optuna()
    from ..export.export import export as write
    from ..run.directory import RunDirectory
    from . import terminal as console

    run = RunDirectory.existing(run_dir)
    tell = lambda line: click.echo(line, err=True)
    written = write(
        run, top=top, front=front, trial=trial, form=form, fold=fold, int8=int8, out=out, tell=tell
    )
    if as_json:
        reached = ("test_accuracy", "int8_test_accuracy")
        emit(
            [
                {
                    **each.found.to_dict(),
                    "file": str(each.path),
                    **{name: each.metrics.get(name) for name in reached},
                }
                for each in written
            ]
        )
        return
    tested = {each.found.trial: each.metrics["test_accuracy"] for each in written if each.metrics}
    console.print_found((each.found for each in written), tested)
    for each in written:
        console.print_lines(f"written: {each.path}")
        if int8:
            before, after = each.metrics["test_accuracy"], each.metrics["int8_test_accuracy"]
            console.print_lines(f"test accuracy {before:.4f} as float32, {after:.4f} as int8")


@click.command()
@click.argument("run_dir")
@out_option("FILE", "Where the page goes [default: report.html in the run directory].")
@click.option(
    "--png",
    metavar="FOLDER",
    type=click.Path(path_type=Path),
    help="Also write every figure as a PNG file there.",
)
@JSON
def report(run_dir: str, out: Path | None, png: Path | None, as_json: bool) -> None:
    """Write one HTML page about a run: progress, trade-off, what helps, the best, the cost."""
    quiet_optuna()
    from ..report import write_report
    from ..run.directory import RunDirectory

    page, figures = write_report(RunDirectory.existing(run_dir), out, png)
    if as_json:
        emit({"file": str(page), "figures": [str(path) for path in figures]})
        return
    for path in (page, *figures):
        click.echo(f"written: {path}")


def show_found(read: Any) -> None:
    """Of a run's `Results`: the best, the final choice's verdict, the Pareto front if any."""
    from ..run import results
    from . import terminal as console

    found = read.best(5)
    console.print_found(found)
    said = results.verdict(found)
    if said:
        console.print_lines(said)
    objectives = read.config.objective_names
    if len(objectives) > 1:
        console.print_front(read.front(), objectives)


def said_of_rungs(rungs: list[dict[str, Any]]) -> list[str]:
    return [
        f"rung of epoch {rung['epoch']}: "
        + ("not yet measured" if rung["tau"] is None else f"tau {rung['tau']:.2f}")
        + f" with the final ranking of {rung['trials']} trials"
        + ("" if rung["on"] else "; it predicts too little and is switched off")
        for rung in rungs
    ]
