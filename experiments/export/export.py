"""The best architectures of a run, as files to take away, each with a card beside it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ...search_space.errors import InputError
from ..run.directory import RunDirectory
from ..run.outputs import check_target, write_out
from ..run.results import Found, Results, need_best
from .exported import Exported
from .final_training import Tell
from .formats import FORMATS, Format
from .model_card import card_text


@dataclass(frozen=True)
class Written:
    """One architecture's file. `metrics`: what its weights reach, with `test_accuracy`; empty where
    the format carries none."""

    found: Found
    path: Path
    metrics: Mapping[str, float]


def export(
    run: RunDirectory,
    *,
    top: int,
    form: str,
    out: Path | None,
    tell: Tell,
    front: bool = False,
    trial: int | None = None,
    fold: bool = False,
    int8: bool = False,
) -> list[Written]:
    """Write the `top` best architectures and say where. Raises InputError.

    `front`: the whole Pareto front instead; `trial`: the one of that number, such as a point of the
    front.

    `out` is a file for one architecture, a folder for several (or where it is one already). By
    default they go into the run directory: best.FORMAT, or export/. `fold`: batch normalisation is
    folded into the convolutions, for inference. `int8`: the format onnx in 8-bit integers.
    Beside FILE lies its card, FILE.md.
    """
    kind = FORMATS[form]
    if fold and not kind.weights:
        carrying = ", ".join(name for name, each in FORMATS.items() if each.weights)
        raise InputError("fold", form, f"a format that carries weights: {carrying}")
    if int8 and form != "onnx":
        raise InputError("int8", form, "the format onnx")
    asked = {"--top": top > 1, "--front": front, "--trial": trial is not None}
    if sum(asked.values()) > 1:
        together = " with ".join(name for name, is_asked in asked.items() if is_asked)
        raise InputError("export", together, "choose one of --top, --front and --trial")
    found = need_best(run, top, front=front) if trial is None else [Results.of(run).trial(trial)]
    suffix = "int8.onnx" if int8 else kind.suffix or form
    one = top == 1 and not front
    if out is None:
        name = "best" if trial is None else f"trial_{trial}"
        out = run.path / f"{name}.{suffix}" if one else run.path / "export"
    if one and not os.path.isdir(out):
        targets = [out]
    else:
        targets = [
            out / _name(rank, each.architecture.key, suffix) for rank, each in enumerate(found, 1)
        ]
    for path in targets:
        check_target(path)  # before anything is trained
    return [
        _write(Exported(run, each, tell, fold, int8), kind, path)
        for each, path in zip(found, targets, strict=True)
    ]


def _name(rank: int, key: str, suffix: str) -> str:
    # A module's name may not start with a digit.
    return f"best_{rank}_{key}.py" if suffix == "py" else f"{rank}-{key}.{suffix}"


def _write(taken: Exported, kind: Format, path: Path) -> Written:
    for target, content in kind.files(taken, path):
        write_out(target, content)
    config = taken.run.read_config()
    # Asking for `info` may train the network, which a format without weights must not do.
    info = taken.info if kind.weights else {}
    card = card_text(
        taken.found,
        info,
        file=path.name,
        usage=kind.usage,
        data=config.data,
        seed=config.seed,
        folded=taken.fold or taken.int8,
        plugins=config.plugins,
    )
    write_out(path.with_name(f"{path.name}.md"), card)
    return Written(taken.found, path, info.get("metrics", {}))
