"""The card beside an export: what the network is, what it costs, how good it is, how to load it."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from ... import __version__
from ...evaluators.base import ACCURACY
from ...search_space import Cost, format_quantity
from ...search_space import cost as cost_of
from ..run.results import Found
from .usage import Usage, preparation
from .usage import lines as lines_of


def model_name(found: Found) -> str:
    """The architecture's name in timm, fit for Python and file names."""
    return f"convnas_{found.architecture.key}"


def card_facts(found: Found, info: Mapping[str, Any]) -> dict[str, Any]:
    """Plain data that formats with room for it carry inside."""
    return {
        "architecture": found.architecture.to_dict(),
        "score": found.score,
        **({} if found.objective == ACCURACY else {"objective": found.objective}),
        "flops": found.flops,
        "params": found.params,
        **info,
        "versions": _versions(),
    }


def card_text(
    found: Found,
    info: Mapping[str, Any],
    *,
    file: str,
    usage: Usage,
    data: Mapping[str, Any],
    seed: int,
    folded: bool,
    plugins: Sequence[str] = (),
) -> str:
    """Markdown. `info`: what was kept with the weights; empty for a format without weights."""
    cost = cost_of(found.architecture)
    stem = file.partition(".")[0]
    fields = {"file": file, "stem": stem, "name": model_name(found)}
    # Operators of one's own are known once their modules are imported.
    own = ", ".join(["", *plugins]) if "convnas" in usage.imports else ""
    used = info.get("data", data)
    norms = ", batch norms folded (for inference only)" if folded else ""
    lines = [
        f"# {file}",
        "",
        f"- **Architecture**: `{found.architecture}`{norms}",
        f"- **Cost of one image**: {_cost(cost)}",
        f"- **{_title(found)}**: {'; '.join(_reached(found, info))}",
        f"- **Data**: {_data(used)}; seed {info.get('seed', seed)}",
        *preparation(used),
        f"- **Versions**: {', '.join(f'{k} {v}' for k, v in _versions().items())}",
        "",
        "```python",
        *lines_of(usage, fields, used, own),
        "```",
    ]
    return "\n".join(lines) + "\n"


def _cost(cost: Cost) -> str:
    return (
        f"{format_quantity(cost.flops)} multiply-adds, {format_quantity(cost.params)} parameters,"
        f" {format_quantity(cost.activations)} activations"
    )


def _title(found: Found) -> str:
    return "Accuracy" if found.objective == ACCURACY else found.objective


def _reached(found: Found, info: Mapping[str, Any]) -> list[str]:
    said = [f"search score {found.score:.4f} (validation, one seed, trial {found.trial})"]
    if found.final is not None:
        what = "" if found.final.spread is None else " (standard deviation)"
        said.append(f"with {found.final.seeds} {found.final.shown}{what}")
    metrics = info.get("metrics", {})
    for name in dict.fromkeys([found.objective, ACCURACY]):
        if (tested := metrics.get(f"test_{name}")) is not None:
            what = "" if name == found.objective else f"{name} "
            said.append(f"these weights on the test split {what}{tested:.4f} (one training)")
    as_int8 = metrics.get("int8_test_accuracy")
    if as_int8 is not None:
        said.append(f"as int8, which this file is, {as_int8:.4f}")
    return said


def _data(data: Mapping[str, Any]) -> str:
    sizes = data.get("sizes")
    name = str(data.get("name"))
    if not sizes:
        return name
    split = ", ".join(f"{count} {part}" for part, count in sizes.items())
    joined = "; trained on train and validation together" if data.get("joined") else ""
    return f"{name} ({split}, split by seed {data.get('split_seed')}{joined})"


def _versions() -> dict[str, str]:
    return {
        "convnas": __version__,
        "torch": str(torch.__version__),
        "python": platform.python_version(),
    }
