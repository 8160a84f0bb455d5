"""The best architectures of a run, as files to take away."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import yaml

from ..search_space.errors import InputError
from ..search_space.files import atomic_write
from .results import Found, front_of, need_best
from .run_dir import RunDirectory
from .training import Tell, ensure_weights


def _yaml(run: RunDirectory, found: Found, path: Path, tell: Tell) -> None:
    comment = f"# score {found.score:.4f}, {found.flops} flops, {found.params} params\n"
    content = yaml.safe_dump(found.architecture.to_dict(), sort_keys=False, default_flow_style=None)
    atomic_write(path, comment + content)


def _json(run: RunDirectory, found: Found, path: Path, tell: Tell) -> None:
    atomic_write(path, json.dumps(found.architecture.to_dict(), indent=2) + "\n")


def _pt(run: RunDirectory, found: Found, path: Path, tell: Tell) -> None:
    atomic_write(path, ensure_weights(run, found.architecture, tell).read_bytes())


def _folded_pt(run: RunDirectory, found: Found, path: Path, tell: Tell) -> None:
    from ..search_space import fold_batch_norm, load_network, read_network_file, save_network

    trained = ensure_weights(run, found.architecture, tell)
    folded = fold_batch_norm(load_network(trained))
    info = read_network_file(trained)["info"]
    save_network(path, found.architecture, folded.state_dict(), folded=True, **info)


FORMATS: dict[str, Callable[[RunDirectory, Found, Path, Tell], None]] = {
    "yaml": _yaml,
    "json": _json,
    "pt": _pt,
}


def export(
    run: RunDirectory,
    *,
    top: int,
    form: str,
    out: Path | None,
    tell: Tell,
    front: bool = False,
    fold: bool = False,
) -> list[tuple[Found, Path]]:
    """Write the `top` best architectures, or the Pareto `front`, and say where. Raises InputError.

    `out` is a file for one architecture, a folder for several (or where it is one already). By
    default they go into the run directory: best.FORMAT, or export/. `fold`: batch normalisation is
    folded into the convolutions, for inference.
    """
    if fold and form != "pt":
        raise InputError("fold", form, "only the format pt carries weights to fold")
    write = _folded_pt if fold else FORMATS[form]
    found = need_best(run, top)
    if front:
        found = front_of(run)
    one = top == 1 and not front
    if out is None:
        out = run.path / f"best.{form}" if one else run.path / "export"
    if one and not out.is_dir():
        targets = [out]
    else:
        names = (f"{rank}-{each.architecture.key}.{form}" for rank, each in enumerate(found, 1))
        targets = [out / name for name in names]
    written = list(zip(found, targets, strict=True))
    try:
        for each, path in written:
            path.parent.mkdir(parents=True, exist_ok=True)
            write(run, each, path, tell)
    except OSError as e:
        raise InputError("out", str(out), f"it cannot be written: {e.strerror}") from e
    return written
