"""The formats of `convnas export`, each said once: its files, how they are loaded, its weights.

Nothing heavy is imported before a format is used: the command line lists them too.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .usage import NAMED, PICTURE, Usage

if TYPE_CHECKING:
    from .exported import Exported

Files = Iterator[tuple[Path, str | bytes]]


@dataclass(frozen=True)
class Format:
    """`files`: what it is made of, with contents, for one architecture and the path asked for.

    `usage`: the lines of Python on its card. `weights`: whether it carries trained ones, made at
    its first use. `suffix` of its file, where that is not the format's name.
    """

    files: Callable[[Exported, Path], Files]
    usage: Usage
    weights: bool = True
    suffix: str = ""


def _yaml(taken: Exported, path: Path) -> Files:
    import yaml

    found = taken.found
    comment = (
        f"# {found.score_name} {found.score:.4f}, {found.flops} flops, {found.params} params\n"
    )
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
    yield path, taken.onnx


def _py(taken: Exported, path: Path, timm_name: str | None = None) -> Files:
    import io
    import sys

    import torch

    from ...search_space import build_network
    from ...search_space.errors import InputError
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
    from .model_card import model_name

    return _py(taken, path, model_name(taken.found))


_ARCHITECTURE = Usage(
    "convnas", "network = convnas.build_network(convnas.Architecture.load({file!r}))"
)
_TORCH = "logits = network(torch.from_numpy(x))[0]"

FORMATS = {
    "yaml": Format(_yaml, _ARCHITECTURE, weights=False),
    "json": Format(_json, _ARCHITECTURE, weights=False),
    "pt": Format(
        _pt,
        Usage(
            "convnas, numpy, torch",
            "network = convnas.load_network({file!r})\n"
            "data = convnas.search_space.read_network_file({file!r})['info']['data']",
            f"{PICTURE}\n{_TORCH}\n{NAMED}",
        ),
    ),
    "pt2": Format(
        _pt2,
        Usage(
            "json, numpy, torch",
            "facts = {{'convnas.json': ''}}\n"
            "network = torch.export.load({file!r}, extra_files=facts).module()\n"
            "data = json.loads(facts['convnas.json'])['data']",
            f"{PICTURE}\n{_TORCH}\n{NAMED}",
        ),
    ),
    "onnx": Format(
        _onnx,
        Usage(
            "json, numpy, onnxruntime",
            "session = onnxruntime.InferenceSession({file!r})\n"
            "data = json.loads(session.get_modelmeta().custom_metadata_map['convnas'])['data']",
            # Four braces each: this f-string halves them, and so does `usage.lines`.
            f"{PICTURE}\nlogits = session.run(None, {{{{'images': x}}}})[0][0]\n{NAMED}",
        ),
    ),
    "py": Format(
        _py,
        Usage(
            "{stem}",
            "network = {stem}.load()",
            "print({stem}.predict('image.png', network)[0])",
        ),
    ),
    "timm": Format(
        _timm,
        Usage(
            "timm, {stem}",
            "network = timm.create_model({name!r}, pretrained=True)",
            "prepare = timm.data.create_transform(**timm.data.resolve_model_data_config(network))\n"
            "logits = network(prepare(Image.open('image.png').convert({mode!r}))[None])[0]\n"
            "print({stem}.CLASSES[logits.argmax()])",
        ),
        suffix="py",
    ),
}
"""By their names at the command line."""
