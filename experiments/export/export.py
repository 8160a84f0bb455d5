"""The best architectures of a run, as files to take away, each with a card beside it."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from ...search_space.errors import InputError
from ...search_space.network.build import Network, build_network
from ..run.directory import RunDirectory
from ..run.outputs import check_target, write_out
from ..run.results import Found, found_by_trial, front_of, need_best
from .final_training import Tell, ensure_weights
from .model_card import card_facts, card_text, model_name


@dataclass
class Exported:
    """One architecture on its way out: its trained network is made when a format asks for it."""

    run: RunDirectory
    found: Found
    tell: Tell
    fold: bool

    @cached_property
    def trained(self) -> Path:
        return ensure_weights(self.run, self.found.architecture, self.tell)

    @cached_property
    def info(self) -> dict[str, Any]:
        """What was kept with the weights: metrics, data, seed."""
        from ...search_space import read_network_file

        return dict(read_network_file(self.trained)["info"])

    @cached_property
    def network(self) -> Network:
        """On the CPU, in evaluation mode, folded where that was asked."""
        from ...search_space import fold_batch_norm, load_network

        network = load_network(self.trained)
        return fold_batch_norm(network) if self.fold else network

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.found.architecture.input

    @property
    def facts(self) -> dict[str, Any]:
        return card_facts(self.found, self.info)


Files = Iterator[tuple[Path, str | bytes]]


def _yaml(taken: Exported, path: Path) -> Files:
    found = taken.found
    comment = f"# score {found.score:.4f}, {found.flops} flops, {found.params} params\n"
    content = yaml.safe_dump(found.architecture.to_dict(), sort_keys=False, default_flow_style=None)
    yield path, comment + content


def _json(taken: Exported, path: Path) -> Files:
    yield path, json.dumps(taken.found.architecture.to_dict(), indent=2) + "\n"


def _pt(taken: Exported, path: Path) -> Files:
    if not taken.fold:
        yield path, taken.trained.read_bytes()
        return
    from ...search_space.network.weights import network_bytes

    weights = taken.network.state_dict()
    yield path, network_bytes(taken.found.architecture, weights, folded=True, **taken.info)


def _pt2(taken: Exported, path: Path) -> Files:
    from .graphs import pt2_bytes

    yield path, pt2_bytes(taken.network, taken.shape, taken.facts)


def _onnx(taken: Exported, path: Path) -> Files:
    from .graphs import onnx_bytes

    yield path, onnx_bytes(taken.network, taken.shape, taken.facts)


def _py(taken: Exported, path: Path, timm_name: str | None = None) -> Files:
    import torch

    from .python_module import module_source

    if not path.stem.isidentifier() or path.suffix != ".py":
        allowed = "a Python module's name is letters, digits and _, and ends in .py"
        raise InputError("out", str(path), allowed)
    if path.stem in {*sys.stdlib_module_names, "torch", "timm", "numpy", "convnas"}:
        allowed = f"a module of this name would be imported in place of the {path.stem} there is"
        raise InputError("out", str(path), allowed)
    architecture = taken.found.architecture
    # What has no standalone form is refused before it is trained.
    module_source(build_network(architecture), architecture, {}, timm_name=None)
    buffer = io.BytesIO()
    torch.save(taken.network.state_dict(), buffer)
    yield path.with_name(f"{path.stem}_weights.pt"), buffer.getvalue()
    yield path, module_source(taken.network, architecture, taken.info, timm_name=timm_name)


def _timm(taken: Exported, path: Path) -> Files:
    return _py(taken, path, model_name(taken.found))


FORMATS: dict[str, Callable[[Exported, Path], Files]] = {
    "yaml": _yaml,
    "json": _json,
    "pt": _pt,
    "pt2": _pt2,
    "onnx": _onnx,
    "py": _py,
    "timm": _timm,
}
"""A format -> the files it is made of, with their contents."""

WITHOUT_WEIGHTS = ("yaml", "json")
_MODULES = ("py", "timm")


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
) -> list[tuple[Found, Path]]:
    """Write the `top` best architectures and say where. Raises InputError.

    `front`: the whole Pareto front instead; `trial`: the one of that number, such as a point of the
    front.

    `out` is a file for one architecture, a folder for several (or where it is one already). By
    default they go into the run directory: best.FORMAT, or export/. `fold`: batch normalisation is
    folded into the convolutions, for inference. Beside FILE lies its card, FILE.md.
    """
    if fold and form in WITHOUT_WEIGHTS:
        carrying = ", ".join(name for name in FORMATS if name not in WITHOUT_WEIGHTS)
        raise InputError("fold", form, f"a format that carries weights: {carrying}")
    asked = {"--top": top > 1, "--front": front, "--trial": trial is not None}
    if sum(asked.values()) > 1:
        together = " with ".join(name for name, is_asked in asked.items() if is_asked)
        raise InputError("export", together, "choose one of --top, --front and --trial")
    found = need_best(run, top)
    if front:
        found = front_of(run)
    if trial is not None:
        found = [found_by_trial(run, trial)]
    suffix = "py" if form in _MODULES else form
    one = top == 1 and not front
    if out is None:
        alone = "best" if trial is None else f"trial_{trial}"
        out = run.path / f"{alone}.{suffix}" if one else run.path / "export"
    if one and not out.is_dir():
        targets = [out]
    else:
        targets = [
            out / _name(rank, each.architecture.key, suffix) for rank, each in enumerate(found, 1)
        ]
    written = list(zip(found, targets, strict=True))
    for _, path in written:
        check_target(path)  # before anything is trained
    for each, path in written:
        _write(Exported(run, each, tell, fold), form, path)
    return written


def _name(rank: int, key: str, suffix: str) -> str:
    # A module's name may not start with a digit.
    return f"best_{rank}_{key}.py" if suffix == "py" else f"{rank}-{key}.{suffix}"


def _write(taken: Exported, form: str, path: Path) -> None:
    for target, content in FORMATS[form](taken, path):
        write_out(target, content)
    config = taken.run.read_config()
    card = card_text(
        taken.found,
        {} if form in WITHOUT_WEIGHTS else taken.info,
        file=path.name,
        form=form,
        data=config.data,
        seed=config.seed,
        folded=taken.fold,
        plugins=config.plugins,
    )
    write_out(path.with_name(f"{path.name}.md"), card)
