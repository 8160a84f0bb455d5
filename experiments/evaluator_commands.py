"""The commands that look at evaluators rather than search with them."""

from __future__ import annotations

import json
from pathlib import Path

import click

_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
_DEVICE = click.option("--device", metavar="DEVICE", help="auto, cpu, cuda or cuda:1.")
_WORKERS = click.option("--workers", metavar="N", help="Processes that train, or auto.")


def _number(text: str | None) -> int | str | None:
    try:
        return None if text is None else int(text)
    except ValueError:
        return text


@click.command()
@click.argument("config")
@click.option(
    "-o",
    "--out",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="The table [default: NAME.table.gz].",
)
@click.option(
    "--seeds",
    type=click.IntRange(min=1),
    default=3,
    metavar="N",
    help="Evaluations of each architecture [default: 3].",
)
@_WORKERS
@_DEVICE
@_JSON
def tabulate(
    config: str,
    out: Path | None,
    seeds: int,
    workers: str | None,
    device: str | None,
    as_json: bool,
) -> int:
    """Evaluate every architecture of CONFIG's space (inside its budget) into one file.

    The file then serves as the evaluator `tabular`, which answers at once. What was stopped goes
    on when the same command is given again.
    """
    from .config import read_config
    from .tabulate import tabulate as make

    settings = read_config(config, workers=_number(workers), device=device)
    out = out or Path(f"{settings.name}.table.gz")

    def tell(done: int, total: int, news: str) -> None:
        click.echo(f"{done}/{total}  {news}", err=True)

    table = make(settings, out, seeds=seeds, tell=tell)
    if table is None:
        click.echo("stopped; the same command goes on", err=True)
        return 1
    failed = sum(record.reason is not None for row in table.rows.values() for record in row)
    if as_json:
        about = {"file": str(out), "architectures": len(table.rows), "seeds": seeds}
        click.echo(json.dumps({**about, "failed": failed}, indent=2))
    else:
        click.echo(f"{len(table.rows)} architectures, {seeds} seeds, {failed} failed: {out}")
        click.echo(f"use it: evaluator: {{name: tabular, table: {out}}}")
    return 0
