"""The operators on a GPU against themselves on the CPU, where every digit is checked."""

from __future__ import annotations

import copy

import pytest
import torch

import convnas
from convnas import Architecture, Choice, HetConv2d, OctConv2d, Res2NetBottleneck
from convnas.search_space import fold_batch_norm, tune
from convnas.search_space.layers.hetconv_execution import HetShape

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]

HIGH, LOW = torch.randn(2, 16, 9, 7), torch.randn(2, 16, 5, 4)
CASES = {
    "dense hetconv": (lambda: HetConv2d(32, 64, p=4, bias=True, execution="dense"), (2, 32)),
    "grouped hetconv": (lambda: HetConv2d(32, 64, p=4, bias=True, execution="grouped"), (2, 32)),
    "strided hetconv": (lambda: HetConv2d(32, 32, stride=2, p=2, execution="grouped"), (2, 32)),
    "octave": (lambda: OctConv2d(32, 32, 3, 1, 1, alpha_in=0.5, alpha_out=0.5), None),
    "strided octave": (lambda: OctConv2d(32, 32, 3, 2, 1, alpha_in=0.5, alpha_out=0.25), None),
    "res2net": (lambda: Res2NetBottleneck(32, 8, scales=4), (2, 32)),
}


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("name", CASES)
def test_outputs_and_gradients_in_double_precision(name, layout) -> None:
    torch.manual_seed(0)
    make, shape = CASES[name]
    layer = make().double()
    parts = (HIGH, LOW) if shape is None else (torch.randn(*shape, 9, 7),)
    results = []
    for device in ("cpu", "cuda"):
        net = copy.deepcopy(layer).to(device)
        leaves = [
            p.detach().to(device, torch.float64).contiguous(memory_format=layout).requires_grad_()
            for p in parts
        ]
        out = net(tuple(leaves) if shape is None else leaves[0])
        outs = out if isinstance(out, tuple) else (out,)
        grads = torch.autograd.grad(
            sum(y.square().sum() for y in outs), [*leaves, *net.parameters()]
        )
        results.append([t.detach().cpu() for t in (*outs, *grads)])
    torch.testing.assert_close(results[1], results[0], atol=1e-8, rtol=1e-6)


@pytest.mark.parametrize("name", CASES)
def test_autocast_is_as_near_as_bfloat16_allows(name) -> None:
    torch.manual_seed(0)
    make, shape = CASES[name]
    layer = make().eval()
    x = (HIGH, LOW) if shape is None else torch.randn(*shape, 9, 7)
    on_gpu = (HIGH.cuda(), LOW.cuda()) if shape is None else x.cuda()
    with torch.no_grad():
        expected = layer(x)
        with torch.autocast("cuda", torch.bfloat16):
            got = copy.deepcopy(layer).cuda()(on_gpu)
    parts = lambda y: y if isinstance(y, tuple) else (y,)
    for mine, theirs in zip(parts(got), parts(expected), strict=True):
        torch.testing.assert_close(mine.float().cpu(), theirs, atol=0.1, rtol=0.1)


def test_a_network_of_every_operator_trains_and_folds() -> None:
    torch.manual_seed(0)
    stages = (Choice("octave", alpha=0.5), Choice("res2net", scales=4), Choice("hetconv", p=4))
    network = convnas.build_network(Architecture("resnet-cifar", (1, 8, 8), 10, stages)).cuda()
    network.to(memory_format=torch.channels_last)
    x = torch.randn(8, 1, 8, 8, device="cuda")
    with torch.autocast("cuda", torch.bfloat16):
        network(x).float().square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())
    network = network.eval().double()
    with torch.no_grad():
        torch.testing.assert_close(fold_batch_norm(network)(x.double()), network(x.double()))


def test_grouped_hetconv_keeps_the_layout() -> None:
    layer = HetConv2d(32, 64, p=4, execution="grouped").cuda()
    x = torch.randn(2, 32, 9, 7, device="cuda").contiguous(memory_format=torch.channels_last)
    assert layer(x).is_contiguous(memory_format=torch.channels_last)


def test_the_executions_are_timed_as_graph_replays() -> None:
    shape = HetShape(32, 32, 3, 1, 4)
    assert set(tune([(shape, (9, 9))], device="cuda", rounds=2).hetconv) == {str(shape)}
