"""`convnas train`: one architecture, trained properly."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .shared import WholeNumber

if TYPE_CHECKING:
    from ..export.final_training import FinalTraining


@click.command()
@click.argument("target", metavar="ARCH.yaml|RUN_DIR")
@click.option(
    "--run", "run_dir", metavar="RUN_DIR", help="Use this run's data and keep the weights there."
)
@click.option("--config", metavar="CONFIG", help="Use this experiment's data, training and seed.")
@click.option("--data", metavar="NAME", help="Data set, where there is no run [default: digits].")
@click.option(
    "--epochs", type=WholeNumber(), metavar="N", help="Passes over the data [default: 30]."
)
@click.option(
    "-t",
    "--training",
    "changes",
    multiple=True,
    metavar="KEY=VALUE",
    help="Any other setting of the training, like mixup=0.2; may be given several times.",
)
@click.option(
    "-o", "--out", metavar="FILE", help="Where the weights go [default: beside ARCH.yaml]."
)
@click.option("--restart", is_flag=True, help="Begin anew, whatever an earlier training has left.")
@click.option(
    "--tensorboard/--no-tensorboard",
    default=None,
    help="Log the curves for TensorBoard [default: where it is installed].",
)
@click.option("--device", metavar="DEVICE", help="auto, cpu, cuda or cuda:1.")
@click.option("--seed", type=WholeNumber(), metavar="S", help="Seed of every random choice.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a line.")
def train(
    target: str, out: str | None, restart: bool, tensorboard: bool | None, as_json: bool, **how: Any
) -> None:
    """Train one architecture properly, from scratch, and measure it once on the test split.

    RUN_DIR stands for the run's winner. In a run directory (ARCH.yaml lies in one, or --run names
    one) the data and its split are the run's, and the weights are kept there for export. Stopped or
    killed, the same command goes on after the last whole epoch, to the same result.
    """
    from ..errors import RunError
    from ..export.final_training import train_to_file
    from ..export.training_log import open_log

    job = planned(target, **how)
    if out is not None:
        job = replace(job, path=Path(out), logs=Path(out).with_suffix(".tensorboard"))

    def tell(line: str) -> None:
        click.echo(line, err=True)

    log = open_log(job.logs, wanted=tensorboard, tell=tell)
    try:
        metrics = train_to_file(job, tell, log, restart=restart)
    except KeyboardInterrupt:
        raise RunError("stopped; the same command goes on where it was") from None
    logs = str(log.folder) if log else None
    if as_json:
        click.echo(
            json.dumps({"file": str(job.path), "metrics": metrics, "tensorboard": logs}, indent=2)
        )
        return
    click.echo(f"test accuracy {metrics['test_accuracy']:.4f}; weights: {job.path}")
    if logs:
        click.echo(f"curves: tensorboard --logdir {logs}")


def planned(
    target: str,
    *,
    run_dir: str | None = None,
    config: str | None = None,
    data: str | None = None,
    epochs: int | None = None,
    changes: tuple[str, ...] = (),
    device: str | None = None,
    seed: int | None = None,
) -> FinalTraining:
    """What is to be trained, from the command's arguments. Raises InputError."""
    job = _base(target, run_dir, config, seed or 0)
    training = {**job.training, **_settings(changes)}
    return replace(
        job,
        data={"name": data} if data else job.data,
        training=training if epochs is None else {**training, "epochs": epochs},
        device=device or job.device,
        seed=job.seed if seed is None else seed,
    )


def _base(target: str, run_dir: str | None, config: str | None, seed: int) -> FinalTraining:
    from ...search_space import Architecture
    from ...search_space.errors import InputError
    from ..export.final_training import FinalTraining
    from ..run.directory import RunDirectory
    from ..run.results import need_best
    from ..search.prepare import read_config

    if os.path.isdir(target):
        run = RunDirectory.existing(target)
        architecture, beside = need_best(run, 1)[0].architecture, run
        target = str(run.best_path)
    else:
        architecture, beside = Architecture.load(target), RunDirectory(Path(target).parent)
    if run_dir and config:
        raise InputError("config", config, "it is the run's where there is --run: give one of them")
    if run_dir or (beside.exists and not config):
        return FinalTraining.of_run(
            RunDirectory.existing(run_dir) if run_dir else beside, architecture
        )
    path = Path(target).with_suffix(".pt")
    logs = path.with_suffix(".tensorboard")
    if config:
        return FinalTraining.of_config(read_config(config), architecture, path, logs)
    digits = {"name": "digits"}
    return FinalTraining(
        architecture, path, logs, digits, {}, device="auto", seed=seed, split_seed=seed
    )


def _settings(changes: tuple[str, ...]) -> dict[str, Any]:
    from ...search_space.errors import InputError
    from ...search_space.strict_yaml import parse_yaml

    read: dict[str, Any] = {}
    for change in changes:
        name, sign, value = change.partition("=")
        if not (name and sign):
            raise InputError("training", change, "write it as KEY=VALUE, like mixup=0.2")
        try:
            read[name.strip()] = parse_yaml(value)
        except ValueError as e:
            raise InputError(f"training.{name}", value, f"it is not a value: {e}") from e
        with suppress(ValueError, TypeError):  # what YAML reads as text, like 1e-3
            if isinstance(read[name.strip()], str) and value.isascii():
                read[name.strip()] = float(value)
    return read
