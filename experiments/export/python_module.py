"""A network as a Python module of its own: readable code for exactly it, on torch alone.

The constructor spells every layer out; the classes it needs are copied from `standalone_layers.py`.
Parameters keep convnas's names, so the module loads the weights of an exported .pt file too.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from ...search_space import Architecture, HetConv2d, OctConv2d
from ...search_space.errors import InputError
from ...search_space.layers.frequency import (
    FrequencyMaxPool,
    FrequencyNorm,
    FrequencyReLU,
    GlobalPool,
    SqueezeExcite,
)
from ...search_space.layers.inference import FoldedOctConv2d, FoldedRes2NetConv2d, GroupedHetConv2d
from ...search_space.layers.res2net import Res2NetConv2d
from ...search_space.layers.residual import PaddedShortcut, ResidualBlock
from ...search_space.network.build import Network
from . import python_layers as standalone_layers
from . import python_use

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
    head = _HEAD.format(
        architecture=architecture,
        images=_described(data),
        shape=", ".join(map(str, shape)),
        classes=classes,
        constants=python_use.constants(data, classes),
    )
    parts = [head, *_copied(body), _NETWORK.replace("__LAYERS__", body), python_use.LOAD]
    if data.get("mean"):
        parts.append(python_use.predicting(data, shape))
    if timm_name is not None:
        (first, _), (last, _) = _ends(network)
        places = {"first_conv": first, "classifier": last}
        parts.append(python_use.for_timm(timm_name, data, shape, classes, places))
    return "\n\n".join(part.rstrip() + "\n" for part in parts)


_HEAD = '''"""{architecture}

{images}Input: (N, {shape}) floats, (pixels - MEAN) / STD channel by channel, as prepared(image) gives.
Output: (N, {classes}) logits; predict(image) names the classes. Written by convnas; it needs torch
alone, and Pillow to open a picture.
"""

from collections import OrderedDict
from functools import lru_cache
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

{constants}'''

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
    """The source of what `body` names in standalone_layers, and of what that names in turn."""
    defined = {
        name: inspect.getsource(thing)
        for name, thing in vars(standalone_layers).items()
        if getattr(thing, "__module__", None) == standalone_layers.__name__
    }
    needed: set[str] = set()
    waiting = [inspect.cleandoc(body)]
    while waiting:
        tree = ast.parse(waiting.pop())
        names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        waiting += [defined[name] for name in sorted(names & defined.keys() - needed)]
        needed |= names & defined.keys()
    return [source for name, source in defined.items() if name in needed]


def _code(module: nn.Module, depth: int) -> str:
    """The expression that makes a layer, to stand on a line that is indented `depth` times."""
    if isinstance(module, nn.Sequential):
        return _sequential(module, depth)
    if isinstance(module, ResidualBlock):
        shortcut = [] if module.shortcut is None else [_code(module.shortcut, depth + 1)]
        return _over_lines("Residual", [_code(module.path, depth + 1), *shortcut], depth)
    if type(module) not in _LAYERS:
        allowed = (
            f"no standalone form of {type(module).__name__} is known; pt, pt2 and onnx have it"
        )
        raise InputError("format", "py", allowed)
    return _LAYERS[type(module)](module)


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


def _call(name: str, *positional: Any, **keywords: Any) -> str:
    """A call; keywords that are None are left out."""
    said = [repr(value) for value in positional]
    said += [f"{key}={value!r}" for key, value in keywords.items() if value is not None]
    return f"{name}({', '.join(said)})"


def _conv(layer: Any) -> str:
    (kernel, _), (stride, _), (padding, _) = layer.kernel_size, layer.stride, layer.padding
    return _call(
        "nn.Conv2d",
        *(layer.in_channels, layer.out_channels, kernel),
        stride=stride if stride > 1 else None,
        padding=padding or None,
        groups=layer.groups if layer.groups > 1 else None,
        bias=False if layer.bias is None else None,
    )


def _octave(layer: Any) -> str:
    bias = layer.bias is not None
    if layer.plain:
        sizes = (layer.in_channels, layer.out_channels, layer.kernel_size)
        return _call("PlainOctConv2d", *sizes, layer.stride, layer.padding, layer.groups, bias)
    inputs = (layer.high_in, layer.in_channels - layer.high_in)
    outputs = (layer.high_out, layer.out_channels - layer.high_out)
    sizes = (inputs, outputs, layer.kernel_size)
    return _call("OctConv2d", *sizes, stride=layer.stride, bias=bias, **layer.groups_of)


def _folded_octave(layer: Any) -> str:
    (high_out, high_in, kernel, _), (low_out, both, *_) = (
        layer.high_to_high.shape,
        layer.to_low.shape,
    )
    inputs, outputs = (high_in, both - high_in), (high_out, low_out)
    return _call("FoldedOctConv2d", inputs, outputs, kernel, stride=layer.stride)


def _het(layer: Any) -> str:
    sizes = (layer.in_channels, layer.out_channels, layer.kernel_size)
    more = {"stride": layer.stride, "padding": layer.padding, "p": layer.p}
    return _call("HetConv2d", *sizes, **more, bias=True if layer.bias is not None else None)


def _grouped_het(layer: Any) -> str:
    shape = layer.shape
    sizes = (shape.in_channels, shape.out_channels, shape.kernel, shape.stride, layer.padding)
    shuffles = {"shuffle_in": layer.shuffles_input, "shuffle_out": layer.shuffles_output}
    return _call("GroupedHetConv2d", *sizes, p=shape.p, **shuffles)


def _res2net(layer: Any) -> str:
    conv = layer.convs[0]
    return _call(
        "Res2NetConv2d",
        *(conv.in_channels * layer.scales, layer.scales, conv.kernel_size[0], layer.stride),
        groups=conv.groups,
        stage_block=layer.stage_block,
        folded=isinstance(layer, FoldedRes2NetConv2d),
    )


def _pair_norm(layer: Any) -> str:
    high = 0 if isinstance(layer.high, nn.Identity) else layer.high.num_features
    return _call("PairNorm", high=high, low=layer.low.num_features)


def _squeeze(layer: Any) -> str:
    sizes = {"channels": layer.reduce.in_features, "hidden": layer.reduce.out_features}
    return _call("SqueezeExcite", **sizes, high=layer.high)


_LAYERS: dict[type[nn.Module], Callable[[Any], str]] = {
    nn.Conv2d: _conv,
    nn.BatchNorm2d: lambda layer: _call("nn.BatchNorm2d", layer.num_features),
    nn.BatchNorm1d: lambda layer: _call("nn.BatchNorm1d", layer.num_features),
    nn.Linear: lambda layer: _call("nn.Linear", layer.in_features, layer.out_features),
    nn.ReLU: lambda layer: _call("nn.ReLU", inplace=layer.inplace or None),
    nn.Identity: lambda layer: "nn.Identity()",
    FrequencyReLU: lambda layer: "PairReLU()",
    FrequencyNorm: _pair_norm,
    FrequencyMaxPool: lambda layer: _call("MaxPool", kernel=layer.kernel, stride=layer.stride),
    GlobalPool: lambda layer: "GlobalPool()",
    SqueezeExcite: _squeeze,
    PaddedShortcut: lambda layer: _call("PaddedShortcut", layer.extra_channels, layer.stride),
    HetConv2d: _het,
    GroupedHetConv2d: _grouped_het,
    OctConv2d: _octave,
    FoldedOctConv2d: _folded_octave,
    Res2NetConv2d: _res2net,
    FoldedRes2NetConv2d: _res2net,
}
"""A layer -> the expression that makes its standalone form."""
