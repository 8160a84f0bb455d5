"""`convnas track`: a run's trials, copied to the tools where people look at experiments."""

from __future__ import annotations

import click

from .shared import JSON, emit, listed, quiet_optuna


@click.command()
@click.argument("run_dir")
@click.option(
    "--to", "names", required=True, metavar="A,B", help="tensorboard, mlflow, or both of them."
)
@JSON
def track(run_dir: str, names: str, as_json: bool) -> None:
    """Copy a run's finished trials to TensorBoard or MLflow; those that are there are passed over.

    A config with `track: [tensorboard, mlflow]` does it while the search runs.
    """
    quiet_optuna()
    from ..run.directory import RunDirectory
    from ..tracking import track_run

    wanted = listed("to", names)
    done = track_run(RunDirectory.existing(run_dir), wanted)
    if as_json:
        told = {name: {"place": place, "added": added} for name, (place, added) in done.items()}
        emit(told)
        return
    for name, (place, added) in done.items():
        click.echo(f"{name}: {added} trials added to {place}")
