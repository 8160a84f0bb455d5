"""Write costs.md from costs.yaml: published figures beside ours, and whether they agree.

python docs/render_costs.py
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import ROUND_FLOOR, ROUND_HALF_UP, Decimal
from itertools import groupby
from pathlib import Path
from typing import Any

import yaml

from convnas import Architecture, Choice, cost
from convnas.search_space.backbones import get_backbone
from convnas.search_space.layers.base import Signal
from convnas.search_space.layers.octave import Octave

HERE = Path(__file__).parent
UNITS = {"M": 10**6, "G": 10**9}
Row = Mapping[str, Any]

HEAD = """\
# Costs: published figures beside ours

Written by `python docs/render_costs.py` from [costs.yaml](costs.yaml); a test holds every row to
it.

- **flops**: multiply-adds of all convolutions and linear layers for one input. One multiply-add is
  one FLOP, as in the papers; torch's flop counter counts two. Biases, norms, activation functions,
  pooling, additions and upsampling are not counted. Input 3x224x224 with 1000 classes; on CIFAR
  3x32x32.
- **paper** (`convnas cost ARCH.yaml --convention paper`): as the operator's own paper counts.
  HetConv adds one per output element of a convolution with a bias, scaled like the multiply-adds by
  (K^2/p + 1 - 1/p) / K^2. OctConv adds one for every element that a pooling window reads (its own
  average pooling, max pooling, global pooling). Res2Net and vanilla networks have no other
  convention. Neither paper says so: both conventions are inferred from the printed figures, of
  which they meet {met} and miss {missed}.
- **params**: learned numbers, BatchNorm's two per channel included.
- `convnas cost` also gives **activations** (elements of convolution and linear outputs) and
  **backward_bytes**: the float32 feature maps that training keeps for the backward pass, that is,
  the bytes by which one more image in the batch grows what autograd saves. No paper prints them; a
  test compares them with autograd's saved tensors.

A figure is *equal* when ours, rounded (or, where it says so, cut off) to the printed digits, is the
printed one."""


def main() -> None:
    (HERE / "costs.md").write_text(page(read()), encoding="utf-8")


def read() -> dict[str, Any]:
    data: dict[str, Any] = yaml.safe_load((HERE / "costs.yaml").read_text(encoding="utf-8"))
    return data


def architecture(row: Row) -> Architecture:
    """The architecture of a row."""
    backbone = get_backbone(row["backbone"])
    stages = row["stages"]
    if isinstance(stages, str):
        stages = [stages] * len(backbone.stages)
    if "last" in row:
        stages = [*stages[:-1], row["last"]]
    parsed = tuple(
        Choice.parse(stage) if isinstance(stage, str) else tuple(map(Choice.parse, stage))
        for stage in stages
    )
    return Architecture(backbone.name, backbone.input, row.get("classes", backbone.classes), parsed)


def ours(row: Row) -> dict[str, int]:
    """Our flops and params of a row, by its convention."""
    arch = architecture(row)
    counted = cost(arch, row.get("convention", "multiply-adds"))
    params = counted.params
    if row.get("first_blocks") == "every split":
        params += sum(_one_more_split(arch.backbone, stage) for stage in range(len(arch.stages)))
    return {"flops": counted.flops, "params": params}


def _one_more_split(backbone: str, stage: int) -> int:
    """Parameters of a 3x3 convolution and its norm for one more split of a ResNeXt-29's stage."""
    groups, base = map(int, backbone.removeprefix("se-").removeprefix("resnext29-")[:-1].split("x"))
    width = groups * (64 * 2**stage * base // 64)
    return 9 * width * width // groups + 2 * width


def printed(value: int, like: str, cut: bool) -> str:
    """`value` in the unit and to the digits of `like`: 4.1 G."""
    number, unit = like.split()
    step = Decimal(1).scaleb(Decimal(number).as_tuple().exponent)  # type: ignore[arg-type]
    rounding = ROUND_FLOOR if cut else ROUND_HALF_UP
    return f"{(Decimal(value) / UNITS[unit]).quantize(step, rounding)} {unit}"


def agrees(row: Row, name: str, cut: bool) -> bool:
    return printed(ours(row)[name], row[name], cut) == str(row[name])


def page(data: Mapping[str, Any]) -> str:
    verdicts = [
        "flops" in row.get("differs", {})
        for table in data["tables"]
        for row in table["rows"]
        if row.get("convention") == "paper" and "flops" in row
    ]
    head = HEAD.format(met=len(verdicts) - sum(verdicts), missed=sum(verdicts))
    parts = [head, *map(_table, data["tables"]), _layers(data["layers"]), _ours(data["ours"])]
    parts += [_impossible(data["impossible"]), _missing(data["missing"])]
    return "\n\n".join(parts) + "\n"


def _table(table: Row) -> str:
    cut = table.get("digits") == "cut"
    rows = []
    for row in table["rows"]:
        counted = ours(row)
        rows += [
            (
                row["network"],
                _stages(row),
                name,
                row[name],
                _exact(counted[name], row[name]),
                _verdict(row, name, counted[name], cut),
            )
            for name in ("flops", "params")
            if name in row
        ]
    head = ("network", "stages", "", table.get("column", "published"), "ours", "")
    return _section(table, _markdown(head, rows))


def _verdict(row: Row, name: str, value: int, cut: bool) -> str:
    number, unit = row[name].split()
    if name in row.get("differs", {}):
        difference = Decimal(value) / UNITS[unit] - Decimal(number)
        return f"**not reproduced**: {difference:+.3f} {unit}; {row['differs'][name]}"
    words = ["equal"]
    if name == "flops" and row.get("convention") == "paper":
        words.append("paper's convention")
    if cut and printed(value, row[name], cut=False) != row[name]:
        words.append("digits cut off")
    return ", ".join(words)


def _exact(value: int, like: str) -> str:
    unit = like.split()[1]
    return f"{Decimal(value) / UNITS[unit]:.6f}".rstrip("0").rstrip(".") + f" {unit}"


def _stages(row: Row) -> str:
    stages = row["stages"]
    if isinstance(stages, str):
        text = stages + (f", last {row['last']}" if "last" in row else "")
    else:
        text = ", ".join(
            stage if isinstance(stage, str) else f"[{', '.join(_runs(stage))}]"
            for stage in _runs(stages)
        )
    return f"{row['backbone']}: {text}"


def _runs(items: list[Any]) -> list[Any]:
    """Equal neighbours as one: ["a", "a", "b"] to ["2 x a", "b"]."""
    grouped = [(item, len(list(same))) for item, same in groupby(items)]
    return [f"{count} x {item}" if count > 1 else item for item, count in grouped]


def layer_shares(alpha: float) -> dict[str, Decimal]:
    """Per cent of a plain layer's flops and memory that an octave one has."""
    octave = Octave(Signal(64, 32, 32, alpha), 64, 3, alpha_out=alpha).cost()
    plain = Octave(Signal(64, 32, 32), 64, 3).cost()
    return {
        "flops": Decimal(100 * octave.flops) / plain.flops,
        "memory": Decimal(100 * octave.activations) / plain.activations,
    }


def _layers(table: Row) -> str:
    rows = []
    for row in table["rows"]:
        shares = layer_shares(row["alpha"])
        rows += [
            (str(row["alpha"]), name, f"{row[name]} %", f"{shares[name]:.2f} %", "equal")
            for name in ("flops", "memory")
        ]
    return _section(table, _markdown(("alpha", "", "published", "ours", ""), rows))


def _ours(table: Row) -> str:
    rows = []
    for row in table["rows"]:
        counted = ours(row)
        values = (f"{counted['flops'] / 1e6:,.3f} M", f"{counted['params'] / 1e6:.3f} M")
        rows.append((row["network"], _stages(row), *values))
    return _section(table, _markdown(("network", "stages", "flops", "params"), rows))


def _impossible(table: Row) -> str:
    rows = [(row["network"], _stages(row), row["reason"] + " ...") for row in table["rows"]]
    return _section(table, _markdown(("network", "stages", "the error says"), rows))


def _missing(table: Row) -> str:
    rows = [(row["network"], row["published"], row["reason"]) for row in table["rows"]]
    return _section(table, _markdown(("network", "published", "why not"), rows))


def _section(table: Row, body: str) -> str:
    lines = [f"## {table['title']}"]
    if "source" in table:
        lines.append(f"Source: {table['source'].strip()}.")
    if "note" in table:
        lines.append(table["note"].strip())
    return "\n\n".join([*lines, body])


def _markdown(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


if __name__ == "__main__":
    main()
