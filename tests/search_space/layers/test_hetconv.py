"""HetConv2d against the paper's filters, one kernel at a time."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from convnas import HetConv2d


def one_kernel_at_a_time(layer: HetConv2d, x: Tensor, conv) -> Tensor:
    """Filter n: KxK on channel i where (i - n) mod p == 0, else 1x1; summed over i."""
    maps = []
    for n in range(layer.out_channels):
        own, other = iter(layer.spatial[n]), iter(layer.pointwise[n])
        total: Tensor | float = 0.0
        for i in range(layer.in_channels):
            channel = x[:, i : i + 1]
            if (i - n) % layer.p == 0:
                total = total + conv(channel, next(own)[None, None], stride=layer.stride)
            else:
                total = total + conv(channel, next(other).view(1, 1, 1, 1), stride=layer.stride)
        maps.append(total)
    return torch.cat(maps, dim=1)


@pytest.mark.parametrize("size", [(6, 6), (5, 7), (1, 1)])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(("channels", "p"), [((4, 4), 2), ((8, 4), 4), ((4, 8), 4), ((4, 6), 1)])
@pytest.mark.parametrize("kernel", [3, 5])
def test_equals_the_papers_filters_with_gradients(
    naive_conv2d, channels, p, kernel, stride, size
) -> None:
    torch.manual_seed(0)
    layer = HetConv2d(*channels, kernel, stride, kernel // 2, p=p).double()
    x = torch.randn(2, channels[0], *size, dtype=torch.float64, requires_grad=True)
    got, expected = layer(x), one_kernel_at_a_time(layer, x, naive_conv2d)
    torch.testing.assert_close(got, expected)
    wanted = [x, *(q for q in layer.parameters() if q.numel())]
    upstream = torch.randn_like(got)
    for mine, theirs in zip(
        torch.autograd.grad(got, wanted, upstream),
        torch.autograd.grad(expected, wanted, upstream),
        strict=True,
    ):
        torch.testing.assert_close(mine, theirs)


@pytest.mark.parametrize("p", [1, 2, 4, 8])
def test_stores_exactly_the_papers_parameters(p) -> None:
    m, n, k = 16, 32, 3
    stored = sum(q.numel() for q in HetConv2d(m, n, p=p).parameters())
    assert stored == m * n * (k * k / p + 1 - 1 / p)


def test_dense_weight_has_a_kernel_where_the_paper_says(naive_conv2d) -> None:
    layer = HetConv2d(8, 4, p=4)
    weight = layer.dense_weight()
    x = torch.randn(1, 8, 5, 5)
    torch.testing.assert_close(naive_conv2d(x, weight), layer(x))
    for n in range(4):
        for i in range(8):
            ring = weight[n, i].clone()
            ring[1, 1] = 0
            assert bool(ring.any()) == ((i - n) % 4 == 0)


def test_weight_decay_leaves_absent_kernels_absent() -> None:
    layer = HetConv2d(8, 8, p=4)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1, momentum=0.9, weight_decay=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        layer(torch.randn(2, 8, 6, 6)).square().mean().backward()
        optimizer.step()
    weight = layer.dense_weight().detach()
    absent = torch.tensor([[(i - n) % 4 != 0 for i in range(8)] for n in range(8)])
    ring = torch.ones(3, 3)
    ring[1, 1] = 0
    assert (weight[absent] * ring).abs().max() == 0


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [((8, 8, 3, 1, 1, False, 3), "p must divide both"), ((8, 8, 2), "kernel_size must be odd")],
)
def test_refuses_what_cannot_be(arguments, complaint) -> None:
    with pytest.raises(ValueError, match=complaint):
        HetConv2d(*arguments)
