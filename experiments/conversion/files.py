"""A conversion on disk: the weights with what was replaced, and a report."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ...search_space import Choice, InputError, format_quantity
from ...search_space.traced.carry import carried
from ...search_space.traced.replace import replaced
from ...search_space.traced.trace import Call
from ..run.outputs import write_out
from .convert import Converted, rows_of

FORMAT = 1
NETWORK, FACTS, REPORT = "network.pt", "report.json", "report.md"
_ERROR = (
    "error: the mean square of what the layer gives otherwise than before, on what the original"
    " network hands it, over the variance of what it gave."
)
_SMALL = Call((2, 2), (2, 2))
"""Where only the modules are wanted, the size of their maps does not matter."""


def save_converted(folder: Path, converted: Converted, facts: Mapping[str, Any]) -> None:
    """Write network.pt, report.json and report.md; `facts` go into the reports. InputError."""
    content = {
        "convnas-conversion": FORMAT,
        "replaced": {name: choice.to_dict() for name, choice in converted.replacement.choices},
        "state_dict": {
            name: value.detach().cpu() if isinstance(value, Tensor) else value
            for name, value in converted.network.state_dict().items()
        },
    }
    buffer = io.BytesIO()
    torch.save(content, buffer)
    write_out(folder / NETWORK, buffer.getvalue())
    report = {
        **facts,
        "budget": converted.limit._asdict(),
        "before": converted.before._asdict(),
        "after": converted.after._asdict(),
        "norms": list(converted.norms),
        "layers": rows_of(converted),
    }
    write_out(folder / FACTS, json.dumps(report, indent=2) + "\n")
    write_out(folder / REPORT, report_text(converted, facts))


def load_converted(path: str | Path, model: nn.Module) -> nn.Module:
    """The converted network, in evaluation mode, from its file and the original's code.

    model: the network as the original code makes it, with any weights; it stays as it was. Raises
    InputError where the file is another one, or of another network.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as e:
        raise InputError(str(path), "this file", f"it cannot be read: {e.strerror or e}") from e
    except Exception as e:  # whatever torch's reader falls over in bytes that are not its own
        raise InputError(str(path), "this file", "it is no converted network, or damaged") from e
    if not isinstance(content, dict) or content.get("convnas-conversion") != FORMAT:
        raise InputError(str(path), "this file", "it was not written by convnas convert")
    try:
        made: dict[str, nn.Module] = {}
        for name, chosen in content["replaced"].items():
            conv = model.get_submodule(name)
            if not isinstance(conv, nn.Conv2d):
                raise TypeError(f"{name} is a {type(conv).__name__}")
            made[name] = carried(conv, _SMALL, Choice.from_dict(chosen))
        network = replaced(model, made)
        network.load_state_dict(content["state_dict"])
    except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as e:
        reason = f"it is of another network ({' '.join(str(e).split())[:200]})"
        raise InputError(str(path), "this file", reason) from e
    return network.eval()


def report_text(converted: Converted, facts: Mapping[str, Any]) -> str:
    """What changed, as Markdown: costs before and after, then layer by layer."""
    lines = [f"# {facts.get('model', 'A converted network')}", "", f"{converted.replacement}.", ""]
    lines += ["| | before | after | share |", "|---|---|---|---|"]
    for kind in converted.before._fields:
        before, after = getattr(converted.before, kind), getattr(converted.after, kind)
        lines.append(f"| {kind} | {before} | {after} | {100 * after / before:.1f} % |")
    if "accuracy" in facts:
        before, after = facts["accuracy"]
        lines.append(f"| accuracy on {facts['images']} images | {before:.4f} | {after:.4f} | |")
    lines += ["", "Nothing has been trained: fine-tune the network before you use it.", ""]
    lines += ["| layer | becomes | flops | params | error |", "|---|---|---|---|---|"]
    for row in rows_of(converted):
        if row["becomes"] is None:
            costs = format_quantity(row["flops"][0]) if row["flops"] else ""
            lines.append(f"| {row['name']} | stays{_why(row['stays'])} | {costs} | | |")
            continue
        flops, params = (
            f"{format_quantity(row[kind][0])} to {format_quantity(row[kind][1])}"
            for kind in ("flops", "params")
        )
        lines.append(
            f"| {row['name']} | {row['becomes']} | {flops} | {params} | {row['error']:.3f} |"
        )
    return "\n".join([*lines, "", _ERROR, ""])


def _why(reason: str | None) -> str:
    return f": {reason}" if reason else ""
