"""The commands that search: `launch`, and `compare` for whole strategies."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import click

from .runs import said_of_rungs, show_found
from .shared import (
    BUDGET,
    DEVICE,
    JSON,
    SEED,
    WORKERS,
    WholeNumber,
    emit,
    listed,
    number,
    out_option,
    quiet_optuna,
    say,
)


@click.command()
@click.argument("config", required=False)
@click.option("-o", "--out", metavar="RUN_DIR", help="Run directory [default: runs/NAME].")
@click.option(
    "--trials", type=WholeNumber(), metavar="N", help="Trials in all, those already made included."
)
@BUDGET
@click.option("--strategy", metavar="NAME", help="What proposes architectures: predictor, tpe, ...")
@WORKERS
@click.option("--backend", metavar="NAME", help="local, or nni: as trials of NNI [default: local].")
@click.option("--port", type=WholeNumber(), metavar="P", help="Of NNI's dashboard [default: 8080].")
@click.option("--host", metavar="HOST", help="Where NNI listens: this machine only.")
@click.option(
    "--from",
    "from_runs",
    multiple=True,
    metavar="RUN_DIR",
    help="Take over that run's trials where they fit; may be repeated.",
)
@click.option("--no-final", is_flag=True, help="Without the final choice, see final: {top: 0}.")
@DEVICE
@SEED
@JSON
def launch(
    config: str | None,
    out: str | None,
    workers: str | None,
    as_json: bool,
    from_runs: tuple[str, ...],
    **changes: Any,
) -> int:
    """Run a search, or go on with one.

    CONFIG is an experiment's YAML file; without it, an existing RUN_DIR goes on with its own, and a
    new one gets the demo. A run that was stopped or killed goes on where it was. On going on,
    trials, workers, device, strategy, final and track may change, nothing else.

    A new run may begin with another run's trials, --from RUN_DIR: those that are in its space and
    budget count as its own where they were measured alike, else the best of them are tried first.
    """
    quiet_optuna()
    from .. import experiment
    from .terminal import LaunchView, prepare_data

    run, settings = experiment.plan(config, out, workers=number(workers), **changes)
    if not settings.backend.machines:
        prepare_data(settings)
    final = settings.final_trainings and not run.exists
    with LaunchView(_said_of_final(settings) if final else None) as view:
        launched = experiment.launch(
            run,
            settings,
            view,
            lambda url: click.echo(f"dashboard: {url}", err=True),
            from_runs=from_runs,
            tell=lambda line: click.echo(line, err=True),
        )
    return _close(launched, as_json, settings.trials)


def _said_of_final(settings: Any) -> str:
    """What the final choice will cost, before a search begins."""
    seeds, top = settings.final.seeds, min(settings.final.top, settings.trials)
    return (
        f"after the {settings.trials} trials the final choice: the best {top} are trained with"
        f" {seeds} new seed{'s' * (seeds > 1)} each, {settings.final_trainings} trainings"
        " (--no-final leaves it out)"
    )


def _close(launched: Any, as_json: bool, wanted: int) -> int:
    """The closing table, where the run is, and the next command. Returns the exit status.

    `wanted`: how many trials were asked for in all.
    """
    from ..run import results
    from ..search import zero_cost
    from . import terminal as console

    run = launched.run
    read = results.Results.of(run)
    state = results.status_of(run, read)
    if as_json:
        emit({**state, "ending": launched.ending})
    found = read.best(5)
    if found and not as_json:
        show_found(read)
    trials = state["trials"]
    ended = trials["complete"] + trials["pruned"] + trials["failed"]
    made = ", ".join(f"{trials[word]} {word}" for word in ("complete", "pruned", "failed"))
    notes = [f"run: {run.path}  ({ended} trials: {made})"]
    notes += [f"failed {count} x: {reason}" for reason, count in state["failures"].items()]
    notes += said_of_rungs(state["rungs"]) + zero_cost.said_of(state["zero_cost"])
    if ended > wanted:
        notes.append(
            f"nothing was left to do: it has {ended} trials, {wanted} were asked for in all"
        )
    if launched.ending == "exhausted":
        notes.append("every architecture inside the budget has been tried: the search is over")
    if launched.ending == "stopped":
        notes.append(f"stopped; to go on: convnas launch -o {shlex.quote(str(run.path))}")
    elif found:
        notes.append(f"next: convnas export {shlex.quote(str(run.path))} --format pt")
    if not as_json:
        console.print_lines(*notes)
    if launched.ending == "stopped":
        return 1
    return 0 if found else say(f"no trial completed; see {run.log_path}", 1)


@click.command()
@click.argument("config")
@click.option(
    "--strategies",
    "names",
    required=True,
    metavar="A,B,C",
    help="Which to compare; random is always among them.",
)
@click.option(
    "--repeats", type=WholeNumber(), default=8, metavar="R", help="Searches by each [default: 8]."
)
@click.option("--trials", type=WholeNumber(), metavar="N", help="Trainings of a search.")
@BUDGET
@WORKERS
@out_option("DIR", "[default: compare/NAME]")
@DEVICE
@SEED
@JSON
def compare(
    config: str,
    names: str,
    repeats: int,
    workers: str | None,
    out: Path | None,
    as_json: bool,
    **changes: Any,
) -> int:
    """Compare strategies on CONFIG: the best found after so many trainings, and seconds.

    Every strategy searches R times, repeat r with the r-th seed; what two searches train alike is
    trained once. A comparison that was stopped goes on where it was.
    """
    quiet_optuna()
    from ..analysis.compare import compare as run
    from ..analysis.compare_report import rows, said
    from ..search.prepare import prepared_from
    from . import terminal as console

    prepared = prepared_from(config, workers=number(workers), **changes)
    folder = out or Path("compare") / prepared.config.name
    result = run(
        prepared,
        listed("strategies", names),
        repeats,
        folder,
        lambda line: click.echo(line, err=True),
    )
    if result is None:
        return say(f"stopped; run it again to go on in {folder}", 1)
    if as_json:
        emit(result)
    else:
        console.print_rows(rows(result))
        console.print_lines(*said(result))
        console.print_lines(f"written: {folder}/compare.json, .md and, with matplotlib, .png")
    return 0
