"""The commands that count and measure architectures, and train none."""

from __future__ import annotations

from pathlib import Path

import click

from .evaluating import add_latency, latency_range
from .shared import BUDGET, DEVICE, JSON, WholeNumber, emit


@click.command()
@click.argument("config")
@BUDGET
@click.option("--no-data", is_flag=True, help="Do not look at the data.")
@JSON
def space(config: str, budget: str | None, no_data: bool, as_json: bool) -> None:
    """Count the architectures of CONFIG's space, and those inside its budget.

    Also: how their multiply-adds are spread, and how each choice moves them on average. What a
    launch would refuse is refused here, data that do not fit included.
    """
    from ..experiment import check_evaluator
    from ..search.prepare import prepared_from
    from .space_summary import summarised

    prepared = prepared_from(config, budget=budget)
    if not no_data:
        check_evaluator(prepared)
    summary = {**summarised(prepared.space, prepared.feasible), **latency_range(prepared.feasible)}
    if as_json:
        emit(summary)
        return
    from .terminal import print_space

    print_space(summary)


@click.command()
@click.argument("architecture", metavar="ARCH.yaml")
@click.option(
    "--convention",
    metavar="NAME",
    default="multiply-adds",
    help="multiply-adds; paper: as the operators' papers count; or an operator: as its paper does, "
    "a vanilla baseline too [default: multiply-adds].",
)
@click.option("--latency", is_flag=True, help="Measure inference too, whole and part by part.")
@click.option("--batch", type=WholeNumber(min=1), default=1, metavar="N", help="For --latency.")
@DEVICE
@JSON
def cost(
    architecture: str,
    convention: str,
    latency: bool,
    batch: int,
    device: str | None,
    as_json: bool,
) -> None:
    """Count multiply-adds, parameters, activations and bytes kept for backward."""
    from ...search_space import Architecture
    from ...search_space import cost as cost_of

    loaded = Architecture.load(architecture)
    counted = cost_of(loaded, convention).to_dict()
    if latency:
        add_latency(counted, loaded, device=device or "cpu", batch=batch)
    if as_json:
        emit(counted)
    else:
        from .terminal import print_cost

        print_cost(counted)


@click.command()
@click.argument("architecture", metavar="[ARCH.yaml]", required=False)
@click.option(
    "-o", "--out", metavar="FILE", help="Where the table goes [default: standard output]."
)
@click.option("--batch", type=WholeNumber(min=1), default=32, metavar="N", help="Images a step.")
@DEVICE
def tune(architecture: str | None, out: str | None, batch: int, device: str | None) -> None:
    """Measure which execution of HetConv is faster on this machine, shape by shape.

    The shapes are those of ARCH.yaml, or a grid of common ones. The table is YAML: put it under
    `evaluator:` (and `training:`) in a config, and every run of it trains with these executions.
    """
    import torch
    import yaml

    from ...evaluators.device import resolve_device
    from ...search_space import Architecture, default_shapes, shapes_of
    from ...search_space import tune as measure
    from ..run.outputs import check_target, write_out

    if out is not None:
        check_target(Path(out))

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
    write_out(Path(out), text)
    click.echo(f"{len(table['execution']['hetconv'])} shapes measured: {out}", err=True)


@click.command()
@JSON
def backbones(as_json: bool) -> None:
    """List the backbones: input, parameters and multiply-adds when vanilla, and operators."""
    from ...search_space.backbone_list import list_backbones

    listed = list_backbones()
    if as_json:
        emit(listed)
    else:
        from .terminal import print_backbones

        print_backbones(listed)
