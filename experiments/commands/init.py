"""`convnas init` and `convnas schema`: what helps to write a config."""

from __future__ import annotations

import re
from pathlib import Path

import click

from .shared import DEVICE, JSON, WORKERS, emit, number, out_option


def _share(context: click.Context, parameter: click.Parameter, text: str) -> float:
    from ...search_space.errors import InputError

    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*%", text.strip())
    if not found or not 0 < float(found[1]) <= 1000:
        raise InputError("budget", text, "a share of the vanilla network's cost, such as 60%")
    return float(found[1]) / 100


@click.command()
@click.option(
    "--data",
    required=True,
    metavar="PLACE",
    help="A folder with a subfolder of images for every class, an .npz or .pt file, or a name.",
)
@click.option(
    "--budget",
    default="60%",
    metavar="SHARE",
    callback=_share,
    help="Of the vanilla network's multiply-adds [default: 60%].",
)
@out_option("FILE", "The config [default: NAME.yaml, for the data's name].")
@DEVICE
@WORKERS
@JSON
def init(
    data: str,
    budget: float,
    out: Path | None,
    device: str | None,
    workers: str | None,
    as_json: bool,
) -> None:
    """Look at the data and write a first config for them, with the reason of every line.

    One network is trained for one pass, so that the time of the search can be told.
    """
    import torch

    from ...evaluators.device import resolve_devices
    from ...search_space.errors import InputError
    from .. import first_config
    from ..run.outputs import check_target, write_out
    from ..workers.resources import worker_slots

    torch.set_num_threads(1)  # as a worker has
    stem = re.sub(
        r"[^A-Za-z0-9_.-]+", "-", Path(data).resolve().stem if Path(data).exists() else data
    )
    name = re.sub(r"^[^A-Za-z0-9]+", "", stem)[:100] or "mine"
    target = out or Path(f"{name}.yaml")
    check_target(target)
    if target.exists() and out is None:
        raise InputError("out", str(target), "it is there already; -o names another file")
    found = first_config.look(data)
    devices = [str(each) for each in resolve_devices(device or "auto")]
    wanted = number(workers) if workers else "auto"
    slots = worker_slots(wanted, trials=first_config.TRIALS, devices=devices)
    made = first_config.suggest(
        found, name=name, budget=budget, device=devices[0], workers=len(slots)
    )
    write_out(target, first_config.commented(found, made, budget))
    if as_json:
        seconds = {"trial": made.trial, "search": made.search}
        emit({"file": str(target), "config": made.config, "seconds": seconds})
        return
    counts = f"{min(found.counts)} to {max(found.counts)} examples each"
    click.echo(f"{sum(found.counts)} images, {len(found.names)} classes, {counts}")
    click.echo(f"about {first_config.shown(made.search)} with {len(slots)} workers: {target}")
    click.echo(f"next: convnas launch {target}")


@click.command()
@out_option("FILE", "Where it goes [default: standard output].")
def schema(out: Path | None) -> None:
    """Write the JSON schema of a config, for editors that complete and check YAML.

    In the file's first line: # yaml-language-server: $schema=FILE
    """
    import json

    from ..config.json_schema import config_schema
    from ..run.outputs import write_out

    text = json.dumps(config_schema(), indent=2) + "\n"
    if out is None:
        click.echo(text, nl=False)
    else:
        write_out(out, text)
        click.echo(f"written: {out}")
