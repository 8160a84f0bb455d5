"""OctConv2d against equations 2 to 4 of the paper, written out."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from convnas import OctConv2d
from convnas.search_space.layers.modules import octave_paths
from convnas.search_space.layers.standalone import octave as standalone


def mean_of_windows(x: Tensor) -> Tensor:
    """2x2 means; a window past the edge averages the pixels that exist."""
    height, width = x.shape[2:]
    rows = [
        torch.stack(
            [x[:, :, r : r + 2, c : c + 2].mean((2, 3)) for c in range(0, width, 2)], dim=-1
        )
        for r in range(0, height, 2)
    ]
    return torch.stack(rows, dim=2)


def doubled(x: Tensor, height: int, width: int) -> Tensor:
    """Every pixel four times, cropped to the high map's size."""
    rows = torch.arange(height) // 2
    return x[:, :, rows][:, :, :, torch.arange(width) // 2]


def reference(layer: OctConv2d, high: Tensor, low: Tensor | None, conv) -> tuple[Tensor, Tensor]:
    def path(name: str, x: Tensor) -> Tensor | float:
        weight = getattr(layer, name)
        return 0.0 if weight is None else conv(x, weight, groups=layer.groups_of[name])

    if layer.stride == 2:
        high = mean_of_windows(high)
    height, width = high.shape[2:]
    out_high = path("high_to_high", high)
    out_low = path("high_to_low", mean_of_windows(high))
    if low is not None:
        from_low = path("low_to_high", low)
        if layer.stride == 1 and isinstance(from_low, Tensor):
            from_low = doubled(from_low, height, width)
        out_high = out_high + from_low
        out_low = out_low + path("low_to_low", mean_of_windows(low) if layer.stride == 2 else low)
    return out_high, out_low


def inputs(channels: int, alpha: float, height: int, width: int) -> tuple[Tensor, Tensor]:
    low = int(alpha * channels)
    high = torch.randn(2, channels - low, height, width, dtype=torch.float64)
    return high, torch.randn(2, low, -(-height // 2), -(-width // 2), dtype=torch.float64)


def pair_or_tensor(high: Tensor, low: Tensor, alpha: float) -> Tensor | tuple[Tensor, Tensor]:
    return (high, low) if alpha else high


def assert_same(got, expected, alpha_out: float) -> None:
    parts = got if isinstance(got, tuple) else (got,)
    assert len(parts) == (2 if alpha_out else 1)
    for mine, theirs in zip(parts, expected, strict=False):
        if isinstance(theirs, Tensor):
            torch.testing.assert_close(mine, theirs)
        else:
            assert mine.numel() == 0


@pytest.mark.parametrize("size", [(6, 6), (5, 7), (1, 1)])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize("alphas", [(0.5, 0.5), (0.25, 0.75), (0, 0.5), (0.5, 0), (0.125, 0.125)])
def test_equals_the_equations(naive_conv2d, alphas, kernel, stride, size) -> None:
    torch.manual_seed(0)
    layer = OctConv2d(8, 16, kernel, stride, kernel // 2, alpha_in=alphas[0], alpha_out=alphas[1])
    layer = layer.double()
    high, low = inputs(8, alphas[0], *size)
    expected = reference(layer, high, low if alphas[0] else None, naive_conv2d)
    assert_same(layer(pair_or_tensor(high, low, alphas[0])), expected, alphas[1])


@st.composite
def layers(draw: st.DrawFn) -> tuple[OctConv2d, Tensor, Tensor]:
    torch.manual_seed(0)
    eighths = st.sampled_from([0, 1, 2, 4, 7, 8])
    alphas = draw(eighths) / 8, draw(eighths) / 8
    kernel, stride = draw(st.sampled_from([1, 3])), draw(st.sampled_from([1, 2]))
    layer = OctConv2d(8, 8, kernel, stride, kernel // 2, alpha_in=alphas[0], alpha_out=alphas[1])
    size = [draw(st.integers(1, 7)) for _ in range(2)]
    layout = draw(st.sampled_from([torch.contiguous_format, torch.channels_last]))
    batch = draw(st.integers(1, 2))
    high, low = (
        x[:batch].contiguous(memory_format=layout).requires_grad_()
        for x in inputs(8, alphas[0], *size)
    )
    return layer.double(), high, low


@settings(max_examples=60, deadline=None)
@given(layers())
def test_outputs_and_gradients_over_shapes(naive_conv2d, drawn) -> None:
    layer, high, low = drawn
    strided = layer.plain and layer.stride == 2
    if strided:  # alpha 0 on both sides is a strided convolution (the vanilla baseline)
        expected: tuple[Tensor | float, ...] = (
            naive_conv2d(high, layer.high_to_high, stride=2),
            0.0,
        )
    else:
        expected = reference(layer, high, low if layer.alpha_in else None, naive_conv2d)
    got = layer(pair_or_tensor(high, low, layer.alpha_in))
    assert_same(got, expected, layer.alpha_out)
    outs = [y for y in (got if isinstance(got, tuple) else (got,)) if y.requires_grad]
    refs = [y for y in expected if isinstance(y, Tensor)]
    wanted = [x for x in (high, low) if x.numel()] + list(layer.parameters())
    upstream = [torch.randn_like(y) for y in outs]
    torch.testing.assert_close(
        torch.autograd.grad(outs, wanted, upstream), torch.autograd.grad(refs, wanted, upstream)
    )


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_bfloat16_is_as_near_as_its_eight_bits_allow(layout) -> None:
    torch.manual_seed(0)
    layer = OctConv2d(32, 32, 3, padding=1, alpha_in=0.5, alpha_out=0.25)
    x = tuple(part[:, :16].float() for part in inputs(32, 0.5, 9, 9))
    expected = layer(x)
    half = copy.deepcopy(layer).bfloat16()
    got = half(tuple(part.bfloat16().contiguous(memory_format=layout) for part in x))
    for mine, theirs in zip(got, expected, strict=True):
        assert mine.dtype == torch.bfloat16
        torch.testing.assert_close(mine.float(), theirs, atol=0.05, rtol=0.05)


def test_channels_last_stays_channels_last() -> None:
    layer = OctConv2d(16, 16, 3, padding=1, alpha_in=0.5, alpha_out=0.5)
    x = tuple(
        part.float().contiguous(memory_format=torch.channels_last) for part in inputs(16, 0.5, 6, 6)
    )
    assert all(y.is_contiguous(memory_format=torch.channels_last) for y in layer(x))


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("groups", [2, 4])
def test_groups_apply_to_every_path(naive_conv2d, groups, stride) -> None:
    layer = OctConv2d(16, 16, 3, stride, 1, groups=groups, alpha_in=0.5, alpha_out=0.5).double()
    high, low = inputs(16, 0.5, 6, 6)
    expected = reference(layer, high, low, naive_conv2d)
    got = layer((high, low))
    torch.testing.assert_close(got, expected)
    assert sum(p.numel() for p in layer.parameters()) == 16 * 16 // groups * 9


def test_depthwise_drops_the_cross_paths(naive_conv2d) -> None:
    layer = OctConv2d(8, 8, 3, 1, 1, groups=8, alpha_in=0.25, alpha_out=0.25).double()
    assert layer.high_to_low is None
    assert layer.low_to_high is None
    high, low = inputs(8, 0.25, 6, 6)
    torch.testing.assert_close(layer((high, low)), reference(layer, high, low, naive_conv2d))


@pytest.mark.parametrize("stride", [1, 2])
def test_both_alphas_zero_is_a_plain_convolution(stride) -> None:
    layer = OctConv2d(4, 6, 3, stride, 1, bias=True, alpha_in=0, alpha_out=0)
    x = torch.randn(2, 4, 7, 7)
    expected = F.conv2d(x, layer.high_to_high, layer.bias, stride, 1)
    torch.testing.assert_close(layer(x), expected)


@pytest.mark.parametrize("stride", [1, 2])
def test_alpha_one_works_at_half_resolution(naive_conv2d, stride) -> None:
    first = OctConv2d(4, 8, 3, stride, 1, alpha_in=0, alpha_out=1).double()
    x = torch.randn(2, 4, 7, 7, dtype=torch.float64)
    size = 7 if stride == 1 else 4
    high, low = first(x)
    assert high.shape == (2, 0, size, size)
    pooled = mean_of_windows(x if stride == 1 else mean_of_windows(x))
    torch.testing.assert_close(low, naive_conv2d(pooled, first.high_to_low))
    back = OctConv2d(8, 4, 1, alpha_in=1, alpha_out=0).double()
    expected = doubled(naive_conv2d(low, back.low_to_high), size, size)
    torch.testing.assert_close(back((high, low)), expected)


@pytest.mark.parametrize("alphas", [(0.5, 0.5), (0, 0.5), (0.5, 0), (1, 1)])
def test_a_bias_is_added_once_to_every_output_channel(alphas) -> None:
    layer = OctConv2d(4, 4, 1, bias=True, alpha_in=alphas[0], alpha_out=alphas[1])
    for name, parameter in layer.named_parameters():
        torch.nn.init.constant_(parameter, 1.0 if name == "bias" else 0.0)
    low = int(4 * alphas[0])
    x = (
        (torch.randn(1, 4 - low, 4, 4), torch.randn(1, low, 2, 2))
        if alphas[0]
        else torch.ones(1, 4, 4, 4)
    )
    got = layer(x)
    for part in got if isinstance(got, tuple) else (got,):
        assert torch.equal(part, torch.ones_like(part))


@pytest.mark.parametrize("alpha", [0, 0.125, 0.25, 0.5, 0.75, 1])
def test_parameters_do_not_depend_on_alpha(alpha) -> None:
    layer = OctConv2d(16, 32, 3, padding=1, alpha_in=alpha, alpha_out=alpha)
    assert sum(p.numel() for p in layer.parameters()) == 16 * 32 * 9


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"alpha_in": 1.5}, "alpha_in must be between 0 and 1"),
        ({"alpha_out": -0.1}, "alpha_out must be between 0 and 1"),
        ({"padding": 0}, "padding must be 1"),
        ({"stride": 3}, "stride 1 or 2"),
        ({"groups": 3}, "3 groups do not divide"),
        ({"alpha_in": 0.1}, "alpha_in must be 0 or at least 1/8, not 0.1"),
        ({"alpha_out": 0.12}, "alpha_out must be 0 or at least 1/8, not 0.12"),
    ],
)
def test_refuses_what_cannot_be(settings, complaint) -> None:
    with pytest.raises(ValueError, match=complaint):
        OctConv2d(8, 8, 3, **{"padding": 1, **settings})


@pytest.mark.parametrize(
    ("channels", "alpha", "low"), [(10, 0.25, 2), (10, 0.375, 3), (6, 0.75, 4), (100, 0.29, 29)]
)
def test_the_low_part_is_cut_down_to_whole_channels(channels, alpha, low) -> None:
    """int(alpha C), as the authors' code: .75 of 6 is 4, not 5; a product like 28.999... is 29."""
    layer = OctConv2d(channels, channels, 3, padding=1, alpha_in=alpha, alpha_out=alpha)
    assert layer.low_to_low.shape == (low, low, 3, 3)
    assert layer.high_to_high.shape == (channels - low, channels - low, 3, 3)
    high, low_out = layer((torch.zeros(1, channels - low, 4, 4), torch.zeros(1, low, 2, 2)))
    assert (high.shape[1], low_out.shape[1]) == (channels - low, low)


@pytest.mark.parametrize("upsample", [octave_paths.upsampled, standalone.upsampled])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_upsampling_repeats_every_pixel_at_any_size(upsample, layout) -> None:
    # Half of an odd size is no float32: the row that it gives is wrong for some from 4,189 on.
    for height in (*range(1, 40), *range(4091, 4300), 9999, 10000):
        for shape in ((height, 3), (2, height)):
            low = torch.arange(2.0 * -(-shape[0] // 2) * -(-shape[1] // 2))
            low = low.view(1, 2, -(-shape[0] // 2), -(-shape[1] // 2))
            low = low.contiguous(memory_format=layout)
            assert torch.equal(upsample(low, torch.empty(1, 1, *shape)), doubled(low, *shape))
