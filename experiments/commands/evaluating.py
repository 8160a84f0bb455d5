"""The commands that look at evaluators rather than search with them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from .shared import DEVICE, JSON, WORKERS, WholeNumber, emit, number, out_option


@click.command()
@click.argument("config")
@out_option("FILE", "The table [default: NAME.table.gz].")
@click.option(
    "--seeds",
    type=WholeNumber(min=1),
    default=3,
    metavar="N",
    help="Evaluations of each architecture [default: 3].",
)
@WORKERS
@DEVICE
@JSON
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
    from ..analysis.tabulate import tabulate as make
    from ..search.prepare import prepared_from
    from .terminal import prepare_data

    prepared = prepared_from(config, workers=number(workers), device=device)
    prepare_data(prepared.config)
    out = out or Path(f"{prepared.config.name}.table.gz")

    def tell(done: int, total: int, news: str) -> None:
        click.echo(f"{done}/{total}  {news}", err=True)

    table = make(prepared, out, seeds=seeds, tell=tell)
    if table is None:
        click.echo("stopped; the same command goes on", err=True)
        return 1
    failed = sum(record.reason is not None for row in table.rows.values() for record in row)
    if as_json:
        about = {"file": str(out), "architectures": len(table.rows), "seeds": seeds}
        emit({**about, "failed": failed})
    else:
        click.echo(f"{len(table.rows)} architectures, {seeds} seeds, {failed} failed: {out}")
        click.echo(f"use it: evaluator: {{name: tabular, table: {out}}}")
    return 0


@click.command()
@click.argument("config")
@out_option("FOLDER", "Where the report goes [default: NAME.fidelity].")
@click.option(
    "-n",
    "--architectures",
    type=WholeNumber(min=4),
    default=24,
    metavar="N",
    help="Drawn uniformly from the budget [default: 24].",
)
@click.option(
    "--long",
    type=WholeNumber(min=2),
    metavar="EPOCHS",
    help="Of the long trainings [default: four times the config's].",
)
@click.option(
    "--seeds",
    type=WholeNumber(min=2),
    default=2,
    metavar="N",
    help="Trainings of each, brief and long [default: 2].",
)
@WORKERS
@DEVICE
@JSON
def fidelity(
    config: str,
    out: Path | None,
    architectures: int,
    long: int | None,
    seeds: int,
    workers: str | None,
    device: str | None,
    as_json: bool,
) -> int:
    """Find out whether CONFIG's proxy ranks architectures as long trainings do.

    Rank correlations with their intervals, beside what two seeds of one long training reach; the
    cheapest proxy that still ranks, to paste into the config; a scatter plot. What was stopped
    goes on when the same command is given again.
    """
    from ..analysis.fidelity import Asked
    from ..analysis.fidelity import fidelity as compare
    from ..analysis.fidelity_report import lines, verdict
    from ..search.prepare import prepared_from
    from .terminal import prepare_data

    prepared = prepared_from(config, workers=number(workers), device=device)
    prepare_data(prepared.config)
    out = out or Path(f"{prepared.config.name}.fidelity")
    asked = Asked(architectures, long, seeds)
    found = compare(prepared, out, asked, lambda line: click.echo(line, err=True))
    if found is None:
        click.echo("stopped; the same command goes on", err=True)
        return 1
    if as_json:
        emit(found)
        return 0
    for row in lines(found):
        click.echo("{:24}  {:14}  {:>8}  {:>6}  {}".format(*row))
    click.echo(verdict(found))
    if found["paste"]:
        click.echo(f"paste it: {found['paste']}")
    click.echo(f"report: {out / 'fidelity.md'}")
    return 0


@click.command()
@click.argument("config")
@out_option("FILE", "Write the table too, for `latency: {table: FILE}` on another machine.")
@click.option("--again", is_flag=True, help="Measure anew what was measured before.")
@click.option("--device", metavar="DEVICE", help="In place of the config's latency.device.")
@click.option(
    "--pack",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Measure nothing; write a file that does, elsewhere: python3 FILE, with onnxruntime.",
)
@click.option(
    "--read",
    metavar="ANSWER",
    type=click.Path(path_type=Path),
    help="Measure nothing; take what the pack answered.",
)
@JSON
def latency(
    config: str,
    out: Path | None,
    again: bool,
    device: str | None,
    pack: Path | None,
    read: Path | None,
    as_json: bool,
) -> None:
    """Measure the latency of every piece of CONFIG's networks, here or on another device.

    The table that results estimates each network of the space; how well, it says itself. A config
    with `latency:`, a latency in its budget or among its objectives uses it.
    """
    from ...search_space.errors import InputError
    from ..config.schema import read_mapping
    from ..run.outputs import check_target, write_out
    from ..search.latency import pack_of, table_from, table_of
    from ..search.prepare import to_measure

    if pack is not None and read is not None:
        raise InputError("--read", str(read), "not together with --pack: first one, then the other")
    for target in (out, pack):
        if target is not None:
            check_target(target)
    settings = to_measure(read_mapping(config), device=device)
    space = settings.search_space()
    # ONNX Runtime measures at the end, all at once: the exports before take most of the time.
    exports = pack is not None or settings.latency.get("runtime") == "onnxruntime"
    done_so_far = "exported" if exports else "measured"

    def progress(done: int, total: int) -> None:
        if done % 25 == 0 or done == total:
            click.echo(f"{done_so_far} {done}/{total}", err=True)

    if pack is not None:
        content = pack_of(settings.latency, space, progress)
        write_out(pack, content)
        if as_json:
            emit({"file": str(pack), "bytes": len(content)})
            return
        click.echo(f"{pack}  {len(content) / 1e6:.1f} MB")
        click.echo(f"there: python3 {pack.name}    (it needs onnxruntime, writes answer.json)")
        click.echo(f"here:  convnas latency {config} --read answer.json -o table.json")
        return
    if read is not None:
        table = table_from(settings.latency, space, read)
    else:
        table = table_of(settings.latency, space, again=again, progress=progress)
    if out is not None:
        write_out(out, json.dumps(table.to_dict(), indent=1) + "\n")
    if as_json:
        emit(table.to_dict())
        return
    timed = space.timed(table.times).within(None)
    ends = latency_range(timed)["latency_ms"]
    click.echo("  ".join(f"{name} {value}" for name, value in table.about.items()))
    click.echo(f"networks  {space.size:,}, of {len(table.times)} different pieces")
    click.echo(f"latency   {ends['min']:.3g} to {ends['max']:.3g} ms")
    click.echo(
        f"error     {100 * table.error:.2g} % (median of {table.networks} whole networks), worst"
        f" {100 * table.worst:.2g} %; the pieces' own spread {100 * table.spread:.2g} %"
    )
    plain = (table.plain_tau, table.plain_error)
    if table.tau is not None and plain[0] is not None and plain[1] is not None:
        click.echo(
            f"order     Kendall's tau {table.tau:.2f} over the same; of the plain sum, uncorrected:"
            f" {plain[0]:.2f}, with an error of {100 * plain[1]:.2g} %"
        )
    if out is not None:
        click.echo(f"use it: latency: {{table: {out}}}")


def latency_range(feasible: Any) -> dict[str, dict[str, float]]:
    """`latency_ms` of the fastest and the slowest; nothing where there is no table."""
    from ...search_space.feasible.extremes import ToGo

    chain = feasible.chain
    if "latency" not in chain.costs:
        return {}
    row = chain.costs.index("latency")
    low, high = feasible.limits.get("latency", (None, None))
    least, most = ToGo.of(chain, row).total, ToGo.of(chain, row, sign=-1).total
    ends = (max(least, low or 0), min(most, most if high is None else high))
    return {"latency_ms": {"min": ends[0] / 1e6, "max": ends[1] / 1e6}}


def add_latency(counted: dict[str, Any], architecture: Any, *, device: str, batch: int) -> None:
    """Put `latency_us`, measured now, into what `cost` counted: the whole and each part."""
    from ...evaluators.device import resolve_device
    from ...evaluators.latency.measure import LatencySettings, network_latency, part_latency
    from ...search_space.chain.parts import parts_of

    where = resolve_device(device)
    settings = LatencySettings(device=str(where), batch=batch)
    stem, *stages, head = parts_of(architecture)
    rows = [(counted["stem"], stem), *zip(counted["stages"], stages, strict=True)]
    for row, part in [*rows, (counted["head"], head)]:
        row["latency_us"] = part_latency(part, settings, where).median // 1000 if part else 0
    whole = network_latency(architecture, settings, where)
    counted["latency_us"] = whole.median // 1000
    counted["latency_spread"] = whole.spread
