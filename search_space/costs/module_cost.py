"""What any module costs for one example, by running it: what its convolutions and linear layers do.

One multiply-add is one FLOP; not counted are biases, norms, activation functions, poolings,
additions and products of two feature maps, such as attention's. torch's own counter
(`torch.utils.flop_counter`) counts the same operations twice as high, and products of maps too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from ..layers.base import LayerCost
from ..layers.hetconv_execution import HetShape

Example = Tensor | tuple[Any, ...]
"""What a module is called with: a batch of images, or all of its arguments."""


def module_cost(module: nn.Module, example: Example) -> LayerCost:
    """Multiply-adds, parameters and elements of convolution and linear outputs for one example.

    `example`: a batch (N, ...), or the tuple of the module's arguments; the counts are those of the
    batch, divided by N. The module runs once, in evaluation mode and without gradients, where it
    is, and stays as it was. A heterogeneous convolution counts its own weights, not the zeros that
    its execution may multiply (folded into a plain one, it has only those). A parameter that
    several layers share counts once.
    """
    arguments = example if isinstance(example, tuple) else (example,)
    batch = len(next(each for each in arguments if isinstance(each, Tensor)))
    counter = _Counter()
    sparse = [layer for layer in module.modules() if _shape_of(layer)]
    # Between its two hooks such a layer's own operations, zeros included, are not counted.
    hooks = [layer.register_forward_pre_hook(counter.pause) for layer in sparse]
    hooks += [layer.register_forward_hook(counter.take) for layer in sparse]
    training = [layer for layer in module.modules() if layer.training]
    module.eval()
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # one fused operation would hide its linears
    try:
        with torch.no_grad(), counter:
            module(*arguments)
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        for hook in hooks:
            hook.remove()
        # One by one: train() would also switch layers that were in evaluation before.
        for layer in training:
            layer.training = True
    params = sum(parameter.numel() for parameter in module.parameters())
    return LayerCost(counter.flops // batch, params, counter.elements // batch)


class _Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Sees every operation below autograd, so functional calls count as modules do."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.flops = self.elements = 0
        self._paused = False

    def __torch_dispatch__(
        self,
        function: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        out = function(*args, **(kwargs or {}))
        per_element = _PER_ELEMENT.get(function.overloadpacket)
        if per_element is not None and not self._paused:
            of_input, count = per_element(args)
            self.flops += (args[0] if of_input else out).numel() * count
            self.elements += out.numel()
        return out

    def pause(self, layer: nn.Module, args: object) -> None:
        self._paused = True

    def take(self, layer: nn.Module, args: object, out: Tensor) -> None:
        """Every number of a heterogeneous convolution's weight meets every pixel that it gives."""
        self._paused = False
        shape = _shape_of(layer)
        assert shape is not None
        # out.numel() // C_out is N * H' * W'.
        self.flops += out.numel() // out.shape[1] * shape.weights
        self.elements += out.numel()


def _shape_of(layer: nn.Module) -> HetShape | None:
    """Of a heterogeneous convolution, also of a folded one."""
    shape = getattr(layer, "shape", None)
    return shape if isinstance(shape, HetShape) else None


def _convolution(args: tuple[Any, ...]) -> tuple[bool, int]:
    """Whether each input element (of a transposed one), else each output's, meets the weights of
    one channel: (C_out, C_in / groups, ...), transposed (C_in, C_out / groups, ...)."""
    return bool(args[6]), int(args[1][0].numel())


def _matrix(second: int) -> Callable[[tuple[Any, ...]], tuple[bool, int]]:
    # Of (n, k) @ (k, m): k for each output; `second` is the (k, m) matrix's place in the arguments.
    return lambda args: (False, int(args[second].shape[0]))


_PER_ELEMENT: dict[Any, Callable[[tuple[Any, ...]], tuple[bool, int]]] = {
    torch.ops.aten.convolution: _convolution,
    torch.ops.aten.mm: _matrix(1),
    torch.ops.aten.addmm: _matrix(2),
}
"""An operation -> its multiply-adds for each element of the input (True) or of the output."""
