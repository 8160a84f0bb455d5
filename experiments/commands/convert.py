"""`convnas convert`: a trained network made cheaper."""

from __future__ import annotations

import re
from pathlib import Path

import click

from .shared import DEVICE, JSON, SEED, emit, out_option

PATTERNS = "of module names, with commas between, like layer4.*,conv1."


@click.command()
@click.argument("model", metavar="python:MODULE:FUNCTION")
@click.option(
    "--budget",
    default="60%",
    metavar="SHARE|N",
    help="Of the network's multiply-adds, or a number like 1.5G [default: 60%].",
)
@click.option(
    "--of",
    "kind",
    default="flops",
    metavar="KIND",
    help="What the budget limits: flops, params or activations [default: flops].",
)
@click.option(
    "--data",
    required=True,
    metavar="PLACE",
    help="Images: CONFIG.yaml, a folder with a subfolder for every class, an .npz or .pt file, a"
    " name, or python:MODULE:FUNCTION, which gives them as the network sees them.",
)
@click.option("--input", "shape", metavar="CxHxW", help="Of one image [default: the data's own].")
@click.option("--only", metavar="PATTERNS", help=f"Replace these alone: patterns {PATTERNS}")
@click.option("--not", "exclude", metavar="PATTERNS", help=f"Leave these: patterns {PATTERNS}")
@out_option("DIR", "Where network.pt and the reports go [default: converted].")
@DEVICE
@SEED
@JSON
def convert(
    model: str,
    budget: str,
    kind: str,
    data: str,
    shape: str | None,
    only: str | None,
    exclude: str | None,
    out: Path | None,
    device: str | None,
    seed: int | None,
    as_json: bool,
) -> None:
    """Replace convolutions of a trained network until it fits a budget; its weights are kept.

    FUNCTION takes nothing and returns the network with its weights, or a pair of it and an example
    of its input. Each replacement of each convolution is measured on images, and the sum of the
    errors is made least, exactly, inside the budget. Nothing is trained: fine-tune the result.
    """
    import torch

    from ...evaluators import TrainingSettings, measure, resolve_device
    from ...search_space import format_quantity
    from ..conversion.convert import convert as converted_from
    from ..conversion.convert import rows_of
    from ..conversion.files import NETWORK, REPORT, save_converted
    from ..conversion.sources import load_images, load_model
    from ..run.outputs import check_target
    from .shared import listed

    folder = out or Path("converted")
    check_target(folder / NETWORK)
    where = resolve_device(device or "auto")
    network, example = load_model(model)
    wanted = _shape(shape) if shape else None
    if example is not None and wanted is None and example.ndim == 4:
        channels, height, width = example.shape[1:]
        wanted = channels, height, width
    images = load_images(data, wanted, seed or 0)
    if example is None:
        example = torch.zeros(2, *(wanted or images.shape or (3, 224, 224)))
    network.to(where)
    result = converted_from(
        network,
        example.to(where),
        budget if kind == "flops" else {kind: budget},
        data=images.seen,
        only=listed("only", only) if only else (),
        exclude=listed("not", exclude) if exclude else (),
        tell=lambda name: click.echo(f"measured: {name}", err=True),
    )
    facts: dict[str, object] = {"model": model, "data": data}
    if images.held is not None:
        settings, held = TrainingSettings(bf16=False), images.held.to(where)
        both = [measure(each.eval(), held, settings)[0] for each in (network, result.network)]
        facts |= {"accuracy": both, "images": len(held)}
    save_converted(folder, result, facts)
    if as_json:
        costs = {"before": result.before._asdict(), "after": result.after._asdict()}
        emit({**facts, **costs, "layers": rows_of(result), "out": str(folder)})
        return
    click.echo(f"{result.replacement}")
    for name in result.before._fields:
        before, after = getattr(result.before, name), getattr(result.after, name)
        shown = f"{format_quantity(before)} to {format_quantity(after)}"
        click.echo(f"{name}: {shown} ({100 * after / before:.1f} %)")
    if images.held is not None:
        click.echo(f"accuracy on {len(images.held)} images: {both[0]:.4f} to {both[1]:.4f}")
    click.echo(f"written: {folder / NETWORK}, {folder / REPORT}")
    click.echo(f'next: convnas.load_converted("{folder / NETWORK}", model), and fine-tune it')


def _shape(text: str) -> tuple[int, int, int]:
    from ...search_space.errors import InputError

    found = re.fullmatch(r"([0-9]{1,4})x([0-9]{1,5})x([0-9]{1,5})", text)
    if not found or not all(map(int, found.groups())):
        raise InputError("input", text, "channels, height and width, like 3x224x224")
    channels, height, width = map(int, found.groups())
    return channels, height, width
