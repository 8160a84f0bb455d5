"""torch.export and torch.jit.trace of every operator: right on other inputs and batch sizes."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import convnas
from convnas import Architecture, Choice, HetConv2d, OctConv2d, Res2NetBottleneck
from convnas.search_space import fold_batch_norm
from convnas.search_space.layers.registry import OPERATORS

STAGES = {
    "vanilla": Choice("vanilla"),
    "octave": Choice("octave", alpha=0.5),
    "hetconv": Choice("hetconv", p=4),
    "res2net": Choice("res2net", scales=4),
}


class Paired(nn.Module):
    """An operator on pairs as a module with one tensor in and out."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        high, low = self.layer((x[:, :4], x[:, 4:, ::2, ::2]))
        return torch.cat([high.flatten(1), low.flatten(1)], 1)


LAYERS: dict[str, Callable[[], nn.Module]] = {
    "dense hetconv": lambda: HetConv2d(8, 8, p=2, bias=True, execution="dense"),
    "grouped hetconv": lambda: HetConv2d(8, 8, p=2, bias=True, execution="grouped"),
    "octave": lambda: Paired(OctConv2d(8, 8, 3, padding=1, alpha_in=0.5, alpha_out=0.5)),
    "strided octave": lambda: Paired(OctConv2d(8, 8, 3, 2, 1, alpha_in=0.5, alpha_out=0.25)),
    "alpha 1": lambda: Paired(OctConv2d(8, 8, 3, 1, 1, alpha_in=0.5, alpha_out=1)),
    "res2net": lambda: Res2NetBottleneck(8, 4, 2, scales=4, se=True),
}


def traced(module: nn.Module, x: Tensor) -> nn.Module:
    with warnings.catch_warnings():
        # Tracing is deprecated in torch and says so; it stays in use.
        warnings.simplefilter("ignore", FutureWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        return torch.jit.trace(module, x)


def exported(module: nn.Module, x: Tensor) -> nn.Module:
    batch = {0: torch.export.Dim("batch", min=1, max=64)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        return torch.export.export(module, (x,), dynamic_shapes=(batch,)).module()


@pytest.mark.parametrize("capture", [traced, exported])
@pytest.mark.parametrize("name", LAYERS)
@torch.no_grad()
def test_a_layer_on_other_inputs(name, capture) -> None:
    torch.manual_seed(0)
    layer = LAYERS[name]().eval()
    captured = capture(layer, torch.randn(2, 8, 6, 6))
    for batch in (2, 1, 5):
        x = torch.randn(batch, 8, 6, 6)
        torch.testing.assert_close(captured(x), layer(x))


@torch.no_grad()
def test_a_trace_follows_its_weights_not_those_it_saw() -> None:
    layer = HetConv2d(8, 8, p=2, execution="dense").eval()
    x = torch.randn(2, 8, 6, 6)
    before = layer(x)
    captured = traced(layer, x)
    captured.load_state_dict({"weight": 2 * layer.weight}, strict=False)
    torch.testing.assert_close(captured(x), 2 * before)


@pytest.mark.parametrize("folds", [False, True], ids=["as it is", "folded"])
@pytest.mark.parametrize("capture", [traced, exported])
@pytest.mark.parametrize("name", OPERATORS)
@torch.no_grad()
def test_a_network_on_other_inputs(name, capture, folds) -> None:
    torch.manual_seed(0)
    arch = Architecture("resnet-cifar", (1, 7, 7), 10, (STAGES[name],) * 3)
    network = convnas.build_network(arch).eval()
    if folds:
        network = fold_batch_norm(network)
    captured = capture(network, torch.randn(2, 1, 7, 7))
    for batch in (2, 1, 5):
        x = torch.randn(batch, 1, 7, 7)
        torch.testing.assert_close(captured(x), network(x), atol=1e-5, rtol=1e-5)
