"""What a built network really does, counted by torch."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import convnas


@pytest.fixture(scope="session")
def multiply_adds() -> Callable[[nn.Module, tuple[int, int, int]], int]:
    """Multiply-adds of one forward pass by torch's counter (it counts 2 for each), HetConv executed
    densely and less the zeros that this multiplies: the paper does not count them."""

    def count(network: nn.Module, shape: tuple[int, int, int]) -> int:
        network.eval()
        for module in network.modules():
            if isinstance(module, convnas.HetConv2d):
                module.execution = "dense"
        device = next(network.parameters()).device
        image = torch.zeros(1, *shape, device=device)
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            network(image)
        return counter.get_total_flops() // 2 - dense_surplus(network, image)

    return count


def dense_surplus(network: nn.Module, image: torch.Tensor) -> int:
    """The zeros around the centre of every 1x1 kernel, K*K - 1 of them at each output pixel."""
    surplus = 0

    def count(module: convnas.HetConv2d, _: object, output: torch.Tensor) -> None:
        nonlocal surplus
        area = output.shape[2] * output.shape[3]
        surplus += module.pointwise.numel() * (module.kernel_size**2 - 1) * area

    handles = [
        module.register_forward_hook(count)
        for module in network.modules()
        if isinstance(module, convnas.HetConv2d)
    ]
    if handles:
        with torch.no_grad():
            network(image)
    for handle in handles:
        handle.remove()
    return surplus
