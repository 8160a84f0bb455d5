"""The cost of any module, against closed forms and torch's own counter."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

import convnas
from convnas.search_space import Architecture, Choice, build_network
from convnas.search_space.layers.base import LayerCost

X = torch.zeros(2, 8, 6, 6)


@pytest.mark.parametrize(
    ("module", "example", "flops", "elements"),
    [
        (nn.Conv2d(8, 4, 3, stride=2, padding=1), X, 4 * 8 * 9 * 9, 4 * 9),
        (nn.Conv2d(8, 8, 3, groups=8), X, 8 * 9 * 16, 8 * 16),
        (nn.Conv2d(8, 8, 3, padding="same", dilation=2), X, 64 * 9 * 36, 8 * 36),
        # Every input element meets a 2x2 kernel for each of 4 outputs.
        (nn.ConvTranspose2d(8, 4, 2, stride=2), X, 8 * 36 * 4 * 4, 4 * 144),
        (nn.Linear(6, 5), X, 8 * 6 * 6 * 5, 8 * 6 * 5),
        (nn.Linear(6, 5, bias=False), torch.zeros(3, 6), 30, 5),
        (convnas.HetConv2d(8, 8, p=4, execution="dense"), X, 8 * (2 * 9 + 6) * 36, 8 * 36),
        (convnas.HetConv2d(8, 8, p=4, execution="grouped"), X, 8 * (2 * 9 + 6) * 36, 8 * 36),
    ],
)
def test_closed_forms(module, example, flops, elements) -> None:
    params = sum(p.numel() for p in module.parameters())
    assert convnas.cost(module, example) == LayerCost(flops, params, elements)


def test_functional_calls_and_several_arguments_count() -> None:
    class Both(nn.Module):
        def forward(self, x, weight):
            return F.conv2d(x, weight)

    counted = convnas.cost(Both(), (X, torch.zeros(3, 8, 1, 1)))
    assert counted == LayerCost(3 * 8 * 36, 0, 3 * 36)


@pytest.mark.parametrize("name", ["resnet10t", "mobilenetv3_small_050", "vit_tiny_patch16_224"])
def test_as_torch_counts(name) -> None:
    timm = pytest.importorskip("timm")
    network = timm.create_model(name, num_classes=7).eval()
    images = torch.zeros(1, 3, 224 if "vit" in name else 64, 224 if "vit" in name else 64)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(images)
    operations = counter.get_flop_counts()["Global"]
    aten = torch.ops.aten
    kept = [operations.get(each, 0) for each in (aten.convolution, aten.addmm, aten.mm)]
    assert convnas.cost(network, images).flops == sum(kept) // 2


def test_ours_cost_what_their_plan_says() -> None:
    stages = (Choice("hetconv", p=4), Choice("vanilla"), Choice("res2net", scales=4))
    arch = Architecture("resnet-cifar", (1, 8, 8), 10, stages)
    planned = convnas.cost(arch)
    network = build_network(arch)
    images = torch.zeros(4, 1, 8, 8)
    counted = convnas.cost(network, images)
    assert counted == (planned.flops, planned.params, planned.activations)
    assert network.training
