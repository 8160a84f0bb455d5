"""A network as a Python module of its own: readable code for exactly it, on torch alone.

The constructor spells every layer out; the classes it needs are copied from `python_layers.py` and
from what the operators bring. Parameters keep convnas's names, so the module loads the weights of
an exported .pt file too.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from torch import nn

from ...search_space import Architecture
from ...search_space.errors import InputError
from ...search_space.layers.forms import METHODS, Standalone, call
from ...search_space.layers.frequency import (
    FrequencyMaxPool,
    FrequencyNorm,
    FrequencyReLU,
    GlobalPool,
    SqueezeExcite,
)
from ...search_space.layers.registry import OPERATORS
from ...search_space.layers.residual import PaddedShortcut, ResidualBlock
from ...search_space.network.build import Network
from . import python_layers, python_use

_INDENT = "    "


def module_source(
    network: Network, architecture: Architecture, info: Mapping[str, Any], *, timm_name: str | None
) -> str:
    """The text of the module. With `timm_name`, importing it registers that model with timm."""
    body = "\n".join(
        f"{_INDENT * 2}self.{name} = {_code(child, 2)}" for name, child in network.named_children()
    )
    shape, classes = architecture.input, architecture.classes
    data = info.get("data", {})
    copied = _copied(body)
    head = _HEAD.format(
        architecture=architecture,
        images=_described(data),
        shape=", ".join(map(str, shape)),
        classes=classes,
        future=_FUTURE if any(map(_is_annotated, copied)) else "",
        constants=python_use.constants(data, classes),
    )
    parts = [head, *copied, _NETWORK.replace("__LAYERS__", body), python_use.LOAD]
    if data.get("mean"):
        parts.append(python_use.predicting(data, shape))
    if timm_name is not None:
        (first, _), (last, _) = _ends(network)
        places = {"first_conv": first, "classifier": last}
        parts.append(python_use.for_timm(timm_name, data, shape, classes, places))
    return "\n\n".join(part.rstrip() + "\n" for part in parts)


_HEAD = '''"""{architecture}

{images}Input: (N, {shape}) floats, (pixels - MEAN) / STD channel by channel, as prepared(image) \
gives.
Output: (N, {classes}) logits; predict(image) names the classes. Written by convnas; it needs torch
alone, and Pillow to open a picture.
"""

{future}from collections import OrderedDict
from functools import lru_cache
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

{constants}'''

_FUTURE = "from __future__ import annotations\n\n"

_NETWORK = """class Network(nn.Module):
    def __init__(self):
        super().__init__()
__LAYERS__

    def forward(self, x):
        return self.head(self.stages(self.stem(x)))
"""


def _described(data: Mapping[str, Any]) -> str:
    told = [f"{key}: {data[key]}" for key in ("range", "colour", "resize") if data.get(key)]
    return "Images in training had " + "; ".join(told) + ".\n" if told else ""


def _ends(network: Network) -> tuple[tuple[str, nn.Module], tuple[str, nn.Module]]:
    """The first layer with weights and the last linear one, by name."""
    layers = [(n, m) for n, m in network.named_modules() if getattr(m, "weight", None) is not None]
    return layers[0], next(each for each in reversed(layers) if isinstance(each[1], nn.Linear))


def _copied(body: str) -> list[str]:
    """The source of what `body` names, and of what that names in turn."""
    defined = {thing.__name__: _source(thing) for thing in _definitions()}
    needed: set[str] = set()
    waiting = [inspect.cleandoc(body)]
    while waiting:
        tree = ast.parse(waiting.pop())
        names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        waiting += [defined[name] for name in sorted(names & defined.keys() - needed)]
        needed |= names & defined.keys()
    # In the order of their definitions, not in that of their discovery: bases come first.
    return [source for name, source in defined.items() if name in needed]


def _definitions() -> Iterator[Any]:
    """The classes and functions that may be copied."""
    for thing in vars(python_layers).values():
        if getattr(thing, "__module__", None) == python_layers.__name__:
            yield thing
    for _, operator in sorted(OPERATORS.items()):
        yield from operator.standalone


def _source(thing: Any) -> str:
    """Its text, without the methods that serve convnas alone."""
    lines = inspect.getsource(thing).splitlines(keepends=True)
    # From the end, so that the line numbers of the methods before stay right.
    for node in reversed(getattr(ast.parse("".join(lines)).body[0], "body", [])):
        if isinstance(node, ast.FunctionDef) and node.name in METHODS:
            del lines[node.lineno - 1 : node.end_lineno]
    return "".join(lines).rstrip() + "\n"


def _is_annotated(source: str) -> bool:
    """Whether it has annotations, whose names an exported module need not know."""
    nodes = list(ast.walk(ast.parse(source)))
    arguments = [node.annotation for node in nodes if isinstance(node, ast.arg)]
    returned = [node.returns for node in nodes if isinstance(node, ast.FunctionDef)]
    return any((*arguments, *returned)) or any(isinstance(node, ast.AnnAssign) for node in nodes)


def _code(module: nn.Module, depth: int) -> str:
    """The expression that makes a layer, to stand on a line that is indented `depth` times."""
    if isinstance(module, nn.Sequential):
        return _sequential(module, depth)
    if isinstance(module, ResidualBlock):
        shortcut = [] if module.shortcut is None else [_code(module.shortcut, depth + 1)]
        return _over_lines("Residual", [_code(module.path, depth + 1), *shortcut], depth)
    # Of exactly these types: a subclass may compute something else.
    if type(module) in _LAYERS:
        return _LAYERS[type(module)](module)
    if isinstance(module, Standalone):
        return module.standalone()
    allowed = f"no standalone form of {type(module).__name__} is known; pt, pt2 and onnx have it"
    raise InputError("format", "py", allowed)


def _sequential(module: nn.Sequential, depth: int) -> str:
    names = [name for name, _ in module.named_children()]
    # Empty rows of layers are an identity; numbered layers need no names.
    if names == [str(i) for i in range(len(names))]:
        parts = [_code(child, depth + 1) for child in module]
        return _over_lines("nn.Sequential", parts, depth)
    parts = [f"{name}={_code(child, depth + 2)}" for name, child in module.named_children()]
    return _over_lines("nn.Sequential", [_over_lines("OrderedDict", parts, depth + 1)], depth)


def _over_lines(name: str, parts: list[str], depth: int) -> str:
    inner = "".join(f"{_INDENT * (depth + 1)}{part},\n" for part in parts)
    return f"{name}(\n{inner}{_INDENT * depth})"


def _conv(layer: Any) -> str:
    (kernel, _), (stride, _), (padding, _) = layer.kernel_size, layer.stride, layer.padding
    return call(
        "nn.Conv2d",
        *(layer.in_channels, layer.out_channels, kernel),
        stride=stride if stride > 1 else None,
        padding=padding or None,
        groups=layer.groups if layer.groups > 1 else None,
        bias=False if layer.bias is None else None,
    )


def _pair_norm(layer: Any) -> str:
    high = 0 if isinstance(layer.high, nn.Identity) else layer.high.num_features
    return call("PairNorm", high=high, low=layer.low.num_features)


def _squeeze(layer: Any) -> str:
    sizes = {"channels": layer.reduce.in_features, "hidden": layer.reduce.out_features}
    return call("SqueezeExcite", **sizes, high=layer.high)


_LAYERS: dict[type[nn.Module], Callable[[Any], str]] = {
    nn.Conv2d: _conv,
    nn.BatchNorm2d: lambda layer: call("nn.BatchNorm2d", layer.num_features),
    nn.BatchNorm1d: lambda layer: call("nn.BatchNorm1d", layer.num_features),
    nn.Linear: lambda layer: call("nn.Linear", layer.in_features, layer.out_features),
    nn.ReLU: lambda layer: call("nn.ReLU", inplace=layer.inplace or None),
    nn.Identity: lambda layer: "nn.Identity()",
    FrequencyReLU: lambda layer: "PairReLU()",
    FrequencyNorm: _pair_norm,
    FrequencyMaxPool: lambda layer: call("MaxPool", kernel=layer.kernel, stride=layer.stride),
    GlobalPool: lambda layer: "GlobalPool()",
    SqueezeExcite: _squeeze,
    PaddedShortcut: lambda layer: call("PaddedShortcut", layer.extra_channels, layer.stride),
}
"""A layer -> the expression that makes its standalone form."""
