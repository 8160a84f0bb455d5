"""torchvision's networks with random weights: traced, counted, converted, exported, run."""

from __future__ import annotations

import re
import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import convnas
from convnas.experiments.export.graphs import onnx_bytes
from convnas.search_space import cost
from convnas.search_space.traced.space import TracedSpace

models = pytest.importorskip("torchvision").models

FEW = {"conv": ["vanilla", "hetconv", "octave"], "p": [2, 4], "alpha": [0.5]}
NETWORKS = {
    "resnet18": {},
    "vgg11": {"init_weights": False},
    "densenet121": {},
    "mobilenet_v2": {},
    "mobilenet_v3_small": {},
    "efficientnet_b0": {},
    "regnet_y_400mf": {},
    "convnext_tiny": {},
    "squeezenet1_1": {},
    "googlenet": {"init_weights": False},
}


def made(name: str) -> nn.Module:
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = getattr(models, name)(weights=None, num_classes=10, **NETWORKS[name])
    if name == "vgg11":
        # 119 million of its 129 million parameters, which only take time.
        model.classifier = nn.Linear(512 * 7 * 7, 10)
    return model


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_is_traced_counted_and_converted(name) -> None:
    model = made(name)
    modes = [layer.training for layer in model.modules()]
    example = torch.randn(2, 3, 64, 64)
    space = TracedSpace(model, example, options=FEW)
    assert [layer.training for layer in model.modules()] == modes
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.eval()(example)
    # torch counts a multiply-add as two, and both images.
    assert space.cost.flops == counter.get_total_flops() / 4
    assert space.cost.params == sum(p.numel() for p in model.parameters())
    convolutions = {n for n, m in model.named_modules() if isinstance(m, nn.Conv2d)}
    assert {each.layer.name for each in space.layers} == convolutions

    saved = sum(
        max(each.costs.values()).flops - min(c.flops for c in each.costs.values())
        for each in space.open
    )
    cheapest = space.cost.flops - saved
    budget, most = "70%", int(0.7 * space.cost.flops)
    if cheapest > most:
        with pytest.raises(convnas.InputError, match=f"cheapest network needs {cheapest}:"):
            convnas.convert(model, example, budget, options=FEW)
        budget, most = str(cheapest), cheapest
    done = convnas.convert(model, example, budget, data=torch.randn(4, 3, 64, 64), options=FEW)
    assert done.after.flops <= most
    # What was planned is what was built, counted by running it.
    assert cost(done.network, example)[:2] == done.after[:2]
    with torch.no_grad():
        assert done.network(example).shape == (2, 10)
    changed = tuple(f"{layer}." for layer, _ in done.replacement.choices)
    after = done.network.state_dict()
    for key, value in model.state_dict().items():
        if key.startswith(changed) or key.rpartition(".")[0] in done.norms:
            continue
        assert torch.equal(after[key], value), key


@pytest.mark.parametrize("name", ["resnet18", "squeezenet1_1"])
def test_a_converted_network_runs_as_onnx(name) -> None:
    pytest.importorskip("onnxruntime")
    model, example = made(name).eval(), torch.randn(2, 3, 64, 64)
    done = convnas.convert(model, example, "75%", options=FEW)
    # It runs the file and compares its outputs with torch's.
    assert onnx_bytes(done.network.eval(), (3, 64, 64), {})


class Branching(nn.Module):
    """Two outputs, a layer used twice, one never used, a plain function."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.twice = nn.Conv2d(8, 8, 3, padding=1, bias=False)
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.dilated = nn.Conv2d(8, 8, 3, padding=2, dilation=2)
        self.unused = nn.Conv2d(8, 8, 3)
        self.kernel = nn.Parameter(torch.randn(4, 8, 1, 1))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x = self.twice(self.twice(self.stem(x)))
        return self.dilated(self.depthwise(x)), nn.functional.conv2d(x, self.kernel)


def test_layers_used_twice_count_twice_and_others_say_why_they_stay() -> None:
    space = TracedSpace(Branching(), torch.randn(1, 3, 12, 12))
    layers = {each.layer.name: each for each in space.layers}
    # 9 / 4 kernels and 3 / 4 centres of 8 x 8, at 144 pixels, twice; the weights are there once.
    het = convnas.Choice("hetconv", p=4)
    assert layers["twice"].costs[het].flops == 2 * 144 * 64 * 3
    assert layers["twice"].costs[het].params == 64 * 3
    assert "8 groups" in layers["depthwise"].left_out[het]
    assert "dilated" in str(layers["dilated"].layer.stays)
    assert "not reached" in str(layers["unused"].layer.stays)
    assert [e.layer.stays for e in space.layers if "function" in (e.layer.stays or "")]
    # 3 input channels: no p divides them.
    assert het in layers["stem"].left_out
    for replacement in space.within(None).sample(np.random.default_rng(0), 5):
        assert space.decode(space.encode(replacement)) == replacement


def test_only_and_not_are_patterns_of_module_names() -> None:
    model, example = made("resnet18"), torch.randn(1, 3, 64, 64)
    space = TracedSpace(model, example, options=FEW, only=["layer2", "layer3.*.conv1"])
    names = {each.layer.name for each in space.open}
    assert {"layer2.0.conv1", "layer2.1.conv2", "layer3.0.conv1", "layer3.1.conv1"} <= names
    assert not [name for name in names if re.match(r"layer[14]|layer3.\d.conv2", name)]
    space = TracedSpace(model, example, options=FEW, exclude=["layer2"])
    assert not [e.layer.name for e in space.open if e.layer.name.startswith("layer2")]
    with pytest.raises(convnas.InputError, match="layer9"):
        TracedSpace(model, example, only=["layer9"])


class Inner(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x) if x.sum() > 0 else x


class Outer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.ReLU(), Inner())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x)


@pytest.mark.parametrize(
    ("model", "example", "message"),
    [
        (Outer(), torch.randn(1, 3, 8, 8), r"model\.body\.1: 'Inner' is not allowed; .*torch.fx"),
        (nn.Sequential(nn.Linear(3, 3)), torch.randn(1, 3, 8, 8), "with convolutions"),
        (nn.Conv2d(4, 4, 3, padding=1), torch.randn(1, 3, 8, 8), r"example: \[1, 3, 8, 8\]"),
        (nn.Sequential(nn.Conv2d(3, 3, 1)), torch.randn(3, 8, 8), r"\(N, C, H, W\)"),
        ({"weight": torch.zeros(1)}, torch.randn(1, 3, 8, 8), "'dict' is not allowed; an nn.Mod"),
        (nn.Sequential(nn.Conv2d(3, 3, 2)), torch.randn(1, 3, 8, 8), "no convolution can be"),
    ],
)
def test_what_cannot_be_converted_is_one_line(model, example, message) -> None:
    with pytest.raises(convnas.InputError, match=message) as caught:
        convnas.convert(model, example)
    assert "\n" not in str(caught.value)
