"""The table of an operators benchmark, and what it says in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_LEGEND = (
    "Times faster than vanilla of the same shape (Res2Net: than the bottleneck of the nearest"
    " flops); quartiles over rounds in brackets. Below 1 is slower than vanilla. `ideal`: vanilla's"
    " flops by ours. `naive`: times faster than the source document's form, inference / training."
)
MODES = ("inference", "folded", "training")


def line(row: Mapping[str, Any]) -> str:
    """One row while the benchmark runs."""
    found = "  ".join(f"{mode} {_median(row, mode):.2f}" for mode in MODES)
    return f"{row['operator']:<44} {row['shape']:<24} ideal {row['flops_ideal']:.2f}  {found}"


def markdown(result: Mapping[str, Any]) -> str:
    told = result["conditions"]
    machine = [
        told["gpu"] if told["device"] == "cuda" else told["cpu"],
        f"torch {told['torch']}",
        told["dtype"],
        f"{told['threads']} thread",
        f"{told['rounds']} rounds, interleaved",
        f"clock: {told['clock']}",
        f"load average {told['load_average'][0]} on {told['cores']} cores",
        told["date"],
    ]
    lines = [
        f"# Operators on {'a GPU' if told['device'] == 'cuda' else 'a CPU'}, {told['dtype']}",
        "",
        "; ".join(machine) + ".",
        "",
        _LEGEND,
        "",
        "| operator | channels x size | runs | ideal | inference | folded | training | naive |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += [_table_row(row) for row in result["rows"]]
    lines += ["", *_slower(result["rows"]), ""]
    return "\n".join(lines)


def _table_row(row: Mapping[str, Any]) -> str:
    cells = [row["operator"], row["shape"], row["execution"] or "", f"{row['flops_ideal']:.2f}"]
    for mode in MODES:
        found = row[mode]["against_vanilla"]["ours"]
        cells.append(f"{found['median']:.2f} ({found['low']:.2f}-{found['high']:.2f})")
    naive = [row[mode].get("against_naive") for mode in ("inference", "training")]
    cells.append(" / ".join(f"{each['median']:.2f}" for each in naive if each))
    return f"| {' | '.join(cells)} |"


def _slower(rows: list[Mapping[str, Any]]) -> list[str]:
    """Where an operator loses to vanilla (by more than a twentieth), in plain words."""
    found = [
        f"- {row['operator']}, {row['shape']}:"
        f" {mode} takes {1 / _median(row, mode):.2f} times as long"
        for row in rows
        for mode in MODES
        if _median(row, mode) < 0.95
    ]
    if not found:
        return ["No operator is slower than vanilla by more than 5 % in these rows."]
    return ["Slower than vanilla by more than 5 %:", "", *found]


def _median(row: Mapping[str, Any], mode: str) -> float:
    return float(row[mode]["against_vanilla"]["ours"]["median"])
