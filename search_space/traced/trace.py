"""The convolutions of any network that torch.fx can trace, with the maps that they work on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from ..costs.module_cost import Example
from ..errors import InputError

_LAYERS = (nn.modules.conv._ConvNd, nn.Linear)
_FUNCTIONS = {torch.conv1d, torch.conv2d, torch.conv3d, torch.conv_transpose2d}


@dataclass(frozen=True)
class Call:
    """One pass through a convolution: height and width of what it read and of what it gave."""

    source: tuple[int, int]
    out: tuple[int, int]


@dataclass(frozen=True)
class TracedLayer:
    """A convolution of the network, by its module's name.

    calls: one for each time that the network goes through it. stays: why it cannot be replaced;
    None where it can.
    """

    name: str
    module: nn.Module
    calls: tuple[Call, ...]
    stays: str | None


def trace(model: nn.Module, example: Example) -> list[TracedLayer]:
    """The convolutions, in the order of the first pass through each; those never reached last.

    The model runs once on `example`, in evaluation mode, and stays as it was. InputError where it
    is no network with layers, where torch.fx cannot follow it (the module is named), where it does
    not take the example, and where it has no convolution.
    """
    check_model(model)
    if not any(isinstance(layer, nn.modules.conv._ConvNd) for layer in model.modules()):
        raise InputError("model", type(model).__name__, "a network with convolutions")
    with evaluating(model):
        graph = _graph(model)
        calls = _calls(model, example)
    functional = [
        TracedLayer(node.name, model, (), "it is called as a function, not as a module")
        for node in graph.nodes
        if node.op == "call_function" and node.target in _FUNCTIONS
    ]
    convolutions = {
        name: layer
        for name, layer in model.named_modules()
        if isinstance(layer, nn.modules.conv._ConvNd)
    }
    order = [*calls, *(name for name in convolutions if name not in calls)]
    found = [
        TracedLayer(
            name,
            convolutions[name],
            tuple(calls.get(name, ())),
            _stays(convolutions[name], reached=name in calls, model=model),
        )
        for name in order
    ]
    return [*found, *functional]


def check_model(model: Any) -> None:
    """InputError for what has no layers that could be replaced."""
    wanted = "an nn.Module with its layers: what is compiled, exported or only weights has none"
    if not isinstance(model, nn.Module) or isinstance(model, torch.jit.ScriptModule):
        raise InputError("model", type(model).__name__, wanted)


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Within it the model is in evaluation mode and no gradient is kept."""
    training = [layer for layer in model.modules() if layer.training]
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        # One by one: train() would also switch layers that were in evaluation before.
        for layer in training:
            layer.training = True


class _Tracer(fx.Tracer):
    """Looks only into modules that hold a convolution or linear layer: the others' control flow,
    such as a norm's check of its input, is none of our business."""

    def __init__(self) -> None:
        super().__init__()
        self.inside: list[str] = []

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        if isinstance(m, _LAYERS) or not any(isinstance(each, _LAYERS) for each in m.modules()):
            return True
        return super().is_leaf_module(m, module_qualified_name)

    def call_module(self, m: nn.Module, forward: Any, args: Any, kwargs: Any) -> Any:
        self.inside.append(self.path_of_module(m))
        result = super().call_module(m, forward, args, kwargs)
        # Not in a `finally`: after an error the last one is where it happened.
        self.inside.pop()
        return result


def _graph(model: nn.Module) -> fx.Graph:
    tracer = _Tracer()
    try:
        return tracer.trace(model)
    except Exception as e:  # whatever the model's own code raises when it meets a proxy
        name = tracer.inside[-1] if tracer.inside else ""
        what = type(model.get_submodule(name)).__name__
        reason = str(e).strip().partition("\n")[0] or type(e).__name__
        raise InputError(
            f"model.{name}" if name else "model",
            what,
            f"a module that torch.fx can trace, without control flow on tensors ({reason})",
        ) from e


def _calls(model: nn.Module, example: Example) -> dict[str, list[Call]]:
    calls: dict[str, list[Call]] = {}

    def record(name: str, args: tuple[Any, ...], out: Tensor) -> None:
        shapes = [(*x.shape[2:], 1)[:2] for x in (args[0], out)]
        calls.setdefault(name, []).append(Call(*shapes))

    hooks = [
        layer.register_forward_hook(lambda _, args, out, name=name: record(name, args, out))
        for name, layer in model.named_modules()
        if isinstance(layer, nn.modules.conv._ConvNd)
    ]
    try:
        model(*(example if isinstance(example, tuple) else (example,)))
    except Exception as e:  # whatever the model's own code raises for another shape
        given = example if isinstance(example, tuple) else (example,)
        shown = [list(x.shape) if isinstance(x, Tensor) else type(x).__name__ for x in given]
        reason = str(e).strip().partition("\n")[0]
        allowed = f"an input that the network takes ({type(e).__name__}: {reason})"
        raise InputError("example", shown[0] if len(shown) == 1 else shown, allowed) from e
    finally:
        for hook in hooks:
            hook.remove()
    return calls


def _stays(layer: nn.Module, *, reached: bool, model: nn.Module) -> str | None:
    """Why a convolution cannot be replaced, whatever by."""
    if not reached:
        return "it is not reached in evaluation mode"
    if type(layer) is not nn.Conv2d:
        return f"it is a {type(layer).__name__}, not an nn.Conv2d"
    if layer._parameters.get("weight") is None or layer._forward_hooks or layer._forward_pre_hooks:
        return "its weight is computed, or hooks are on it"
    shared = sum(weight is layer.weight for each in model.modules() for weight in _own(each))
    if shared > 1:
        return "it shares its weight with another layer"
    kernel, padding = layer.kernel_size, layer.padding
    if layer.padding_mode != "zeros":
        return f"it pads by {layer.padding_mode}"
    if len(set(kernel)) > 1 or len(set(layer.stride)) > 1 or set(layer.dilation) != {1}:
        return "its kernel or stride is not square, or it is dilated"
    if kernel[0] % 2 == 0 or padding not in ((kernel[0] // 2,) * 2, "same"):
        return f"a kernel of {kernel[0]} padded by {padding} does not keep the map's size"
    return None


def _own(layer: nn.Module) -> list[nn.Parameter]:
    return [weight for weight in layer._parameters.values() if weight is not None]
