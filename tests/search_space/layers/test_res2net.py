"""Res2NetBottleneck against equation 1 of the paper, written out."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from convnas import Res2NetBottleneck
from convnas.search_space.layers.modules.res2net_conv2d import Res2NetConv2d


def normalise(x: Tensor, norm: torch.nn.BatchNorm2d) -> Tensor:
    mean, var = norm.running_mean[:, None, None], norm.running_var[:, None, None]
    scale, shift = norm.weight[:, None, None], norm.bias[:, None, None]
    return (x - mean) / torch.sqrt(var + norm.eps) * scale + shift


def blurred(x: Tensor, stride: int) -> Tensor:
    """3x3 means, zeros beyond the edge counted."""
    padded = F.pad(x, (1, 1, 1, 1))
    height, width = x.shape[2:]
    total = sum(padded[:, :, a : a + height, b : b + width] for a in range(3) for b in range(3))
    return (total / 9)[:, :, ::stride, ::stride]


def hierarchy(
    layer: Res2NetConv2d, x: Tensor, conv, stride: int, groups: int, norm=normalise
) -> Tensor:
    width = x.shape[1] // layer.scales
    split = [x[:, i * width : (i + 1) * width] for i in range(layer.scales)]

    def k(i: int, z: Tensor) -> Tensor:
        y = conv(z, layer.convs[i].weight, stride=stride, groups=groups)
        return norm(y, layer.norms[i]).clamp(min=0)

    if layer.scales == 1:
        return k(0, x)
    if layer.stage_block:
        ys = [blurred(split[0], stride), *(k(i - 1, split[i]) for i in range(1, layer.scales))]
    else:
        ys = [split[0], k(0, split[1])]
        for i in range(2, layer.scales):
            ys.append(k(i - 1, split[i] + ys[-1]))
    return torch.cat(ys, dim=1)


def stir(module: torch.nn.Module) -> None:
    """Norms that do something, so that a missing or misplaced one shows."""
    for norm in module.modules():
        if isinstance(norm, torch.nn.BatchNorm2d):
            norm.running_mean.normal_()
            norm.running_var.uniform_(0.5, 2)
            torch.nn.init.normal_(norm.weight)
            torch.nn.init.normal_(norm.bias)


@pytest.mark.parametrize("scales", [1, 2, 4])
@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize(("stage_block", "stride"), [(False, 1), (True, 1), (True, 2)])
@pytest.mark.parametrize("size", [(6, 6), (5, 3)])
def test_hierarchy_equals_equation_1(
    naive_conv2d, scales, groups, stage_block, stride, size
) -> None:
    torch.manual_seed(0)
    layer = Res2NetConv2d(8, scales, 3, stride, groups, stage_block).double().eval()
    stir(layer)
    x = torch.randn(2, 8, *size, dtype=torch.float64, requires_grad=True)
    got, expected = layer(x), hierarchy(layer, x, naive_conv2d, stride, groups)
    torch.testing.assert_close(got, expected)
    wanted = [x, *layer.parameters()]
    upstream = torch.randn_like(got)
    torch.testing.assert_close(
        torch.autograd.grad(got, wanted, upstream),
        torch.autograd.grad(expected, wanted, upstream),
    )


def in_training(x: Tensor, norm: torch.nn.BatchNorm2d) -> Tensor:
    """The same scale and shift after this batch's own mean and (biased) variance."""
    mean = x.mean((0, 2, 3), keepdim=True)
    var = (x - mean).square().mean((0, 2, 3), keepdim=True)
    scale, shift = norm.weight[:, None, None], norm.bias[:, None, None]
    return (x - mean) / torch.sqrt(var + norm.eps) * scale + shift


@settings(max_examples=30, deadline=None)
@given(
    scales=st.sampled_from([1, 2, 3, 4]),
    width=st.integers(1, 3),
    stage_block=st.booleans(),
    stride=st.sampled_from([1, 2]),
    size=st.tuples(st.integers(2, 7), st.integers(2, 7)),
    layout=st.sampled_from([torch.contiguous_format, torch.channels_last]),
)
def test_training_equals_equation_1_with_gradients(
    naive_conv2d, scales, width, stage_block, stride, size, layout
) -> None:
    torch.manual_seed(0)
    stage_block |= stride > 1  # a stride stands in a stage's first block alone
    layer = Res2NetConv2d(scales * width, scales, 3, stride, 1, stage_block).double()
    stir(layer)
    x = torch.randn(2, scales * width, *size, dtype=torch.float64)
    x = x.contiguous(memory_format=layout).requires_grad_()
    got = layer(x)
    expected = hierarchy(layer, x, naive_conv2d, stride, 1, in_training)
    torch.testing.assert_close(got, expected)
    wanted = [x, *layer.parameters()]
    upstream = torch.randn_like(got)
    torch.testing.assert_close(
        torch.autograd.grad(got, wanted, upstream),
        torch.autograd.grad(expected, wanted, upstream),
        atol=1e-6,
        rtol=1e-6,
    )


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_bfloat16_is_as_near_as_its_eight_bits_allow(layout) -> None:
    torch.manual_seed(0)
    layer = Res2NetConv2d(32, 4).eval()
    x = torch.randn(2, 32, 9, 9)
    got = copy.deepcopy(layer).bfloat16()(x.bfloat16().contiguous(memory_format=layout))
    assert got.dtype == torch.bfloat16
    torch.testing.assert_close(got.float(), layer(x), atol=0.05, rtol=0.05)


@pytest.mark.parametrize(("in_channels", "stride"), [(16, 1), (8, 1), (16, 2)])
def test_bottleneck_equals_its_parts(naive_conv2d, in_channels, stride) -> None:
    torch.manual_seed(0)
    block = Res2NetBottleneck(in_channels, 4, stride, scales=2).double().eval()
    stir(block)
    conv1, norm1, _, splits, conv3, norm3 = block.path
    x = torch.randn(2, in_channels, 5, 5, dtype=torch.float64)
    y = normalise(naive_conv2d(x, conv1.weight), norm1).clamp(min=0)
    y = hierarchy(splits, y, naive_conv2d, stride, 1)
    y = normalise(naive_conv2d(y, conv3.weight), norm3)
    if block.shortcut is None:
        assert (in_channels, stride) == (16, 1)
        expected = (y + x).clamp(min=0)
    else:
        conv, norm = block.shortcut
        shortcut = normalise(naive_conv2d(x, conv.weight, stride=stride), norm)
        expected = (y + shortcut).clamp(min=0)
    torch.testing.assert_close(block(x), expected)


def test_base_width_gives_the_papers_widths() -> None:
    block = Res2NetBottleneck(256, 64, scales=4, base_width=26)
    assert block.path[0].out_channels == 4 * 26
    assert [conv.in_channels for conv in block.path[3].convs] == [26, 26, 26]
    grouped = Res2NetBottleneck(256, 64, scales=4, base_width=4, groups=8)
    assert grouped.path[0].out_channels == 4 * 4 * 8


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"scales": 3}, "scales must divide the channels: 3 does not divide 64"),
        ({"scales": 4, "groups": 3}, "3 groups do not divide the 16 channels"),
        ({"stride": 2, "stage_block": False}, "stage_block must be True where the stride is 2"),
    ],
)
def test_refuses_what_cannot_be(settings, complaint) -> None:
    with pytest.raises(ValueError, match=complaint):
        Res2NetBottleneck(256, 64, **settings)


def test_one_scale_is_a_convolution_of_any_stride(naive_conv2d) -> None:
    torch.manual_seed(0)
    block = Res2NetBottleneck(16, 4, 2, scales=1, stage_block=False).double().eval()
    stir(block)
    x = torch.randn(2, 4, 5, 5, dtype=torch.float64)
    expected = hierarchy(block.path[3], x, naive_conv2d, 2, 1)
    torch.testing.assert_close(block.path[3](x), expected)
    assert block(torch.randn(2, 16, 5, 5, dtype=torch.float64)).shape == (2, 16, 3, 3)
