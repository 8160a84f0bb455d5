"""The command line. Exit status: 0 good, 1 the run failed, 2 the input is wrong (one line says how).

Heavy imports happen inside the commands, so that help and usage errors are instant.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from .. import __version__
from . import evaluator_commands
from .cluster import commands as cluster_commands
from .dashboard_command import dashboard
from .errors import RunError
from .nni_command import nni
from .track_command import track
from .train_command import train

_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
_DEVICE = click.option("--device", metavar="DEVICE", help="auto, cpu, cuda or cuda:1.")
_SEED = click.option("--seed", type=int, metavar="S", help="Seed of every random choice.")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    try:
        status = cli.main(args=argv, prog_name="convnas", standalone_mode=False)
    except click.exceptions.Abort:
        return _say("stopped", 1)
    except click.ClickException as e:
        return _say(f"{e.format_message()} (see convnas --help)", 2)
    except RunError as e:
        return _say(str(e), 1)
    except ValueError as e:
        from ..search_space.errors import InputError

        if not isinstance(e, InputError):
            raise
        return _say(str(e), 2)
    return status if isinstance(status, int) else 0


def entry_point() -> None:
    sys.exit(main())


def _say(line: str, status: int) -> int:
    click.echo(f"convnas: {' '.join(line.split())}", err=True)
    return status


def _emit(thing: Any) -> None:
    click.echo(json.dumps(thing, indent=2))


@click.group(
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="convnas", message="%(prog)s %(version)s")
@click.pass_context
def cli(context: click.Context) -> None:
    """Search for the best convolutional network inside a compute budget.

    `convnas launch` runs a search (without a config: a demo on handwritten digits), `convnas
    export` hands over what it found.
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())
    elif os.environ.get("CONVNAS_PLUGINS"):
        from .plugins import load_from_environment

        load_from_environment()


cli.add_command(evaluator_commands.tabulate)
cli.add_command(evaluator_commands.latency)
cli.add_command(dashboard)
cli.add_command(nni)
cli.add_command(cluster_commands.worker)
cli.add_command(cluster_commands.proxy)
cli.add_command(evaluator_commands.fidelity)
cli.add_command(train)
cli.add_command(track)


@cli.command()
@click.argument("config", required=False)
@click.option("-o", "--out", metavar="RUN_DIR", help="Run directory [default: runs/NAME].")
@click.option("--trials", type=int, metavar="N", help="Trials in all, those already made included.")
@click.option("--budget", metavar="FLOPS", help="Most multiply-adds allowed, like 400K or 1.5M.")
@click.option("--strategy", metavar="NAME", help="What proposes architectures: predictor, tpe, ...")
@click.option("--workers", metavar="N", help="Processes that train, or auto.")
@click.option("--backend", metavar="NAME", help="local, or nni: as trials of NNI [default: local].")
@click.option("--port", type=int, metavar="P", help="Of NNI's dashboard [default: 8080].")
@click.option("--host", metavar="HOST", help="Where NNI listens: this machine only.")
@_DEVICE
@_SEED
@_JSON
def launch(
    config: str | None, out: str | None, workers: str | None, as_json: bool, **changes: Any
) -> int:
    """Run a search, or go on with one.

    CONFIG is an experiment's YAML file; without it, an existing RUN_DIR goes on with its own, and a
    new one gets the demo. A run that was stopped or killed goes on where it was. On going on,
    trials, workers, device, strategy, final and track may change, nothing else.
    """
    _quiet_optuna()
    from . import experiment
    from .console import LaunchView

    run, settings = experiment.plan(config, out, workers=_workers(workers), **changes)
    with LaunchView() as view:
        launched = experiment.launch(
            run, settings, view, lambda url: click.echo(f"dashboard: {url}", err=True)
        )
    return _close(launched, as_json)


def _workers(text: str | None) -> int | str | None:
    try:
        return None if text is None else int(text)
    except ValueError:
        return text


def _close(launched: Any, as_json: bool) -> int:
    """The closing table, where the run is, and the next command. Returns the exit status."""
    from . import console, results

    run, state = launched.run, results.status(launched.run)
    if as_json:
        _emit({**state, "ending": launched.ending})
    found = results.best_of(run, 5)
    if found and not as_json:
        _show(run, found)
    trials = state["trials"]
    ended = trials["complete"] + trials["pruned"] + trials["failed"]
    made = ", ".join(f"{trials[word]} {word}" for word in ("complete", "pruned", "failed"))
    notes = [f"run: {run.path}  ({ended} trials: {made})"]
    notes += [f"failed {count} x: {reason}" for reason, count in state["failures"].items()]
    notes += _said_of_rungs(state["rungs"])
    if launched.ending == "exhausted":
        notes.append("every architecture inside the budget has been tried: the search is over")
    if launched.ending == "stopped":
        notes.append(f"stopped; to go on: convnas launch -o {run.path}")
    elif found:
        notes.append(f"next: convnas export {run.path} --format pt")
    if not as_json:
        console.print_lines(*notes)
    if launched.ending == "stopped":
        return 1
    return 0 if found else _say(f"no trial completed; see {run.log_path}", 1)


def _show(run: Any, found: Any) -> None:
    """The best, the final choice's verdict, and the Pareto front where there is one."""
    from . import console, results

    console.print_found(found)
    said = results.verdict(found)
    if said:
        console.print_lines(said)
    objectives = run.read_config().objectives
    if len(objectives) > 1:
        console.print_front(results.front_of(run), objectives)


def _said_of_rungs(rungs: list[dict[str, Any]]) -> list[str]:
    return [
        f"rung of epoch {rung['epoch']}: "
        + ("not yet measured" if rung["tau"] is None else f"tau {rung['tau']:.2f}")
        + f" with the final ranking of {rung['trials']} trials"
        + ("" if rung["on"] else "; it predicts too little and is switched off")
        for rung in rungs
    ]


@cli.command()
@click.argument("config")
@click.option("--budget", metavar="FLOPS", help="Most multiply-adds allowed, like 400K or 1.5M.")
@_JSON
def space(config: str, budget: str | None, as_json: bool) -> None:
    """Count the architectures of CONFIG's space, and those inside its budget.

    Also: how their multiply-adds are spread, and how each choice moves them on average.
    """
    from .config import read_config
    from .space_summary import summarised

    settings = read_config(config, budget=budget)
    whole = settings.search_space()
    feasible = settings.feasible(whole)
    summary = {**summarised(whole, feasible), **evaluator_commands.latency_range(feasible)}
    if as_json:
        _emit(summary)
        return
    from .console import print_space

    print_space(summary)


@cli.command()
@click.argument("architecture", metavar="ARCH.yaml")
@click.option(
    "--convention",
    metavar="NAME",
    default="multiply-adds",
    help="multiply-adds, or paper: as the operators' papers count [default: multiply-adds].",
)
@click.option("--latency", is_flag=True, help="Measure inference too, whole and part by part.")
@click.option("--batch", type=click.IntRange(min=1), default=1, metavar="N", help="For --latency.")
@_DEVICE
@_JSON
def cost(
    architecture: str,
    convention: str,
    latency: bool,
    batch: int,
    device: str | None,
    as_json: bool,
) -> None:
    """Count multiply-adds, parameters, activations and bytes kept for backward."""
    from ..search_space import Architecture
    from ..search_space import cost as cost_of

    loaded = Architecture.load(architecture)
    counted = cost_of(loaded, convention).to_dict()
    if latency:
        evaluator_commands.add_latency(counted, loaded, device=device or "cpu", batch=batch)
    if as_json:
        _emit(counted)
    else:
        from .console import print_cost

        print_cost(counted)


@cli.command()
@click.argument("architecture", metavar="[ARCH.yaml]", required=False)
@click.option(
    "-o", "--out", metavar="FILE", help="Where the table goes [default: standard output]."
)
@click.option("--batch", type=click.IntRange(min=1), default=32, metavar="N", help="Images a step.")
@_DEVICE
def tune(architecture: str | None, out: str | None, batch: int, device: str | None) -> None:
    """Measure which execution of HetConv is faster on this machine, shape by shape.

    The shapes are those of ARCH.yaml, or a grid of common ones. The table is YAML: put it under
    `evaluator:` (and `training:`) in a config, and every run of it trains with these executions.
    """
    import torch
    import yaml

    from ..evaluators.device import resolve_device
    from ..search_space import Architecture, default_shapes, shapes_of
    from ..search_space import tune as measure
    from ..search_space.files import atomic_write

    torch.set_num_threads(1)
    where = resolve_device(device or "auto")
    shapes = shapes_of([Architecture.load(architecture)]) if architecture else default_shapes()
    # As the evaluators train: in bfloat16 on a GPU.
    dtype = torch.float32 if where.type == "cpu" else torch.bfloat16
    measured = measure(shapes, device=str(where), dtype=dtype, batch=batch)
    table = {"execution": measured.to_dict()}
    text = yaml.safe_dump(table, sort_keys=False)
    if out is None:
        click.echo(text, nl=False)
        return
    try:
        atomic_write(Path(out), text)
    except OSError as e:
        from ..search_space.errors import InputError

        raise InputError("out", out, f"it cannot be written: {e.strerror}") from e
    click.echo(f"{len(table['execution']['hetconv'])} shapes measured: {out}", err=True)


@cli.command()
@_JSON
def backbones(as_json: bool) -> None:
    """List the backbones: input, parameters and multiply-adds when vanilla, and operators."""
    from ..search_space.listing import list_backbones

    listed = list_backbones()
    if as_json:
        _emit(listed)
    else:
        from .console import print_backbones

        print_backbones(listed)


@cli.command()
@click.argument("config")
@click.option(
    "--strategies",
    "names",
    required=True,
    metavar="A,B,C",
    help="Which to compare; random is always among them.",
)
@click.option("--repeats", type=int, default=5, metavar="R", help="Searches by each [default: 5].")
@click.option("--trials", type=int, metavar="N", help="Trainings of a search.")
@click.option("--budget", metavar="FLOPS", help="Most multiply-adds allowed, like 400K or 1.5M.")
@click.option("--workers", metavar="N", help="Processes that train, or auto.")
@click.option(
    "-o", "--out", metavar="DIR", type=click.Path(path_type=Path), help="[default: compare/NAME]"
)
@_DEVICE
@_SEED
@_JSON
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
    _quiet_optuna()
    from . import console
    from .compare import compare as run
    from .comparison import rows
    from .config import read_config

    settings = read_config(config, workers=_workers(workers), **changes)
    folder = out or Path("compare") / settings.name
    listed = [name.strip() for name in names.split(",") if name.strip()]
    result = run(settings, listed, repeats, folder, lambda line: click.echo(line, err=True))
    if result is None:
        return _say(f"stopped; run it again to go on in {folder}", 1)
    if as_json:
        _emit(result)
    else:
        console.print_rows(rows(result))
        console.print_lines(f"written: {folder}/compare.json, .md and, with matplotlib, .png")
    return 0


@cli.command()
@click.argument("run_dir")
@_JSON
def status(run_dir: str, as_json: bool) -> None:
    """Say where a run stands."""
    _quiet_optuna()
    from . import console, results
    from .run_dir import RunDirectory

    run = RunDirectory.existing(run_dir)
    state = results.status(run)
    if as_json:
        _emit(state)
        return
    trials = "  ".join(f"{word} {count}" for word, count in state["trials"].items())
    going = f"going on, workers {state['workers']}" if state["active"] else "not running"
    console.print_lines(f"{state['name']}: {going}", f"trials of {state['wanted']}: {trials}")
    console.print_lines(*(f"failed {n} x: {reason}" for reason, n in state["failures"].items()))
    console.print_lines(
        *(f"{n['node']} trains {n['trial']}, heard {n['silent']:g} s ago" for n in state["nodes"])
    )
    console.print_lines(*_said_of_rungs(state["rungs"]))
    if state["best"]:
        _show(run, results.best_of(run, 5))


@cli.command()
@click.argument("run_dir")
@click.option(
    "--top", type=click.IntRange(min=1), default=1, metavar="K", help="The K best [default: 1]."
)
@click.option("--front", is_flag=True, help="The whole Pareto front, of several objectives.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["yaml", "json", "pt", "pt2", "onnx", "py", "timm"]),
    default="yaml",
    help="All but yaml and json with trained weights (trained now if they are not yet). py: a"
    " module that needs torch alone; timm: one that also registers with timm [default: yaml].",
)
@click.option(
    "--fold", is_flag=True, help="For inference: batch norms folded into the convolutions."
)
@click.option(
    "-o",
    "--out",
    metavar="OUT",
    type=click.Path(path_type=Path),
    help="File, or folder for several [default: in the run directory].",
)
@_JSON
def export(
    run_dir: str, top: int, front: bool, form: str, fold: bool, out: Path | None, as_json: bool
) -> None:
    """Hand over the best architectures of a run."""
    _quiet_optuna()
    from . import console
    from .export import export as write
    from .run_dir import RunDirectory

    run = RunDirectory.existing(run_dir)
    tell = lambda line: click.echo(line, err=True)
    written = write(run, top=top, front=front, form=form, fold=fold, out=out, tell=tell)
    if as_json:
        _emit([{**found.to_dict(), "file": str(path)} for found, path in written])
        return
    console.print_found(found for found, _ in written)
    console.print_lines(*(f"written: {path}" for _, path in written))


@cli.command()
@click.argument("run_dir")
@click.option(
    "-o",
    "--out",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Where the page goes [default: report.html in the run directory].",
)
@click.option(
    "--png",
    metavar="FOLDER",
    type=click.Path(path_type=Path),
    help="Also write every figure as a PNG file there.",
)
@_JSON
def report(run_dir: str, out: Path | None, png: Path | None, as_json: bool) -> None:
    """Write one HTML page about a run: progress, trade-off, what helps, the best, the cost."""
    _quiet_optuna()
    from .report import write_report
    from .run_dir import RunDirectory

    page, figures = write_report(RunDirectory.existing(run_dir), out, png)
    if as_json:
        _emit({"file": str(page), "figures": [str(path) for path in figures]})
        return
    for path in (page, *figures):
        click.echo(f"written: {path}")


def _quiet_optuna() -> None:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
