"""Both executions of HetConv2d, over shapes, against the kernels that the paper's rule places."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from convnas import Architecture, Choice, HetConv2d, InputError, build_network
from convnas.search_space import ExecutionTable
from convnas.search_space.layers.hetconv_execution import HetShape, het_execution
from convnas.search_space.layers.modules.hetconv_grouped import shuffled_channels_last

EXECUTIONS = ("dense", "grouped")
LAYOUTS = (torch.contiguous_format, torch.channels_last)


def placed(layer: HetConv2d) -> Tensor:
    """The dense weight, kernel by kernel: KxK where (i - n) mod p == 0, else one number inside."""
    size, p = layer.kernel_size, layer.p
    filters = []
    for n in range(layer.out_channels):
        own, other = iter(layer.spatial[n]), iter(layer.pointwise[n])
        kernels = [
            next(own) if (i - n) % p == 0 else F.pad(next(other).view(1, 1), (size // 2,) * 4)
            for i in range(layer.in_channels)
        ]
        filters.append(torch.stack(kernels))
    return torch.stack(filters)


@st.composite
def layers(draw: st.DrawFn) -> tuple[HetConv2d, Tensor]:
    torch.manual_seed(0)
    p = draw(st.sampled_from([1, 2, 3, 4]))
    kernel = draw(st.sampled_from([1, 3, 5]))
    layer = HetConv2d(
        p * draw(st.integers(1, 3)),
        p * draw(st.integers(1, 3)),
        kernel,
        stride=draw(st.integers(1, 3)),
        padding=draw(st.integers(0, kernel)),
        bias=draw(st.booleans()),
        p=p,
    )
    least = max(1, kernel - 2 * layer.padding)
    size = [draw(st.integers(least, least + 6)) for _ in range(2)]
    x = torch.randn(draw(st.integers(1, 3)), layer.in_channels, *size, dtype=torch.float64)
    return layer.double(), x.contiguous(memory_format=draw(st.sampled_from(LAYOUTS)))


@settings(max_examples=60, deadline=None)
@given(layers())
def test_every_execution_equals_the_reference_with_gradients(drawn) -> None:
    layer, x = drawn
    x.requires_grad_()
    wanted = [x, *layer.parameters()]
    expected = F.conv2d(x, placed(layer), layer.bias, layer.stride, layer.padding)
    upstream = torch.randn_like(expected)
    gradients = torch.autograd.grad(expected, wanted, upstream)
    for execution in EXECUTIONS:
        layer.execution = execution
        got = layer(x)
        torch.testing.assert_close(got, expected)
        torch.testing.assert_close(torch.autograd.grad(got, wanted, upstream), gradients)
        with torch.no_grad():
            torch.testing.assert_close(layer.eval()(x), expected)
        layer.train()


@pytest.mark.parametrize("execution", EXECUTIONS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_bfloat16_is_as_near_as_its_eight_bits_allow(execution, layout) -> None:
    torch.manual_seed(0)
    layer = HetConv2d(32, 64, p=4, bias=True, execution=execution)
    x = torch.randn(2, 32, 9, 9)
    expected = F.conv2d(x, placed(layer), layer.bias, 1, 1)
    half = copy.deepcopy(layer).bfloat16()
    got = half(x.bfloat16().contiguous(memory_format=layout))
    assert got.dtype == torch.bfloat16
    torch.testing.assert_close(got.float(), expected, atol=0.05, rtol=0.05)
    got.sum().backward()
    expected.sum().backward()
    # A sum over 162 pixels of terms of either sign: relative to the largest.
    wanted, found = layer.weight.grad, half.weight.grad
    assert wanted is not None
    assert found is not None
    assert (found.float() - wanted).abs().max() < 0.03 * wanted.abs().max()


@pytest.mark.parametrize("execution", EXECUTIONS)
def test_weight_decay_cannot_revive_what_is_not_there(execution) -> None:
    torch.manual_seed(0)
    layer = HetConv2d(8, 8, p=4, execution=execution)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1, momentum=0.9, weight_decay=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        layer(torch.randn(2, 8, 6, 6)).square().mean().backward()
        optimizer.step()
    assert sum(q.numel() for q in optimizer.param_groups[0]["params"]) == 8 * 8 * (9 + 3) // 4
    rings = placed(layer).flatten(2)[..., [0, 1, 2, 3, 5, 6, 7, 8]]
    absent = torch.tensor([[(i - n) % 4 != 0 for i in range(8)] for n in range(8)])
    assert rings[absent].abs().max() == 0
    assert layer.dense_weight().flatten(2)[..., 0][absent].abs().max() == 0


@pytest.mark.parametrize("execution", EXECUTIONS)
@pytest.mark.parametrize(
    "change",
    [
        lambda layer: layer.weight.data.mul_(2),
        lambda layer: layer.weight.detach().numpy().__imul__(2),
        lambda layer: layer.load_state_dict({"weight": layer.weight.detach() * 2}),
        lambda layer: setattr(layer, "weight", torch.nn.Parameter(layer.weight.detach() * 2)),
        lambda layer: setattr(layer.weight, "data", layer.weight.data * 2),
    ],
    ids=["data", "numpy", "state_dict", "parameter", "set_data"],
)
@torch.no_grad()
def test_no_change_of_the_weight_escapes_in_evaluation(execution, change) -> None:
    layer = HetConv2d(8, 8, p=2, execution=execution).eval()
    x = torch.randn(1, 8, 5, 5)
    before = layer(x)
    assert torch.equal(layer(x), before)
    change(layer)
    torch.testing.assert_close(layer(x), 2 * before)


@torch.no_grad()
def test_evaluation_follows_dtype_layout_and_copies() -> None:
    layer = HetConv2d(8, 8, p=2).eval()
    x = torch.randn(1, 8, 5, 5)
    expected = layer(x)
    torch.testing.assert_close(layer(x.contiguous(memory_format=torch.channels_last)), expected)
    other = copy.deepcopy(layer)
    other.weight.mul_(3)
    torch.testing.assert_close(other(x), 3 * expected)
    torch.testing.assert_close(layer(x), expected)
    torch.testing.assert_close(layer.double()(x.double()).float(), expected)


def test_the_layout_of_the_input_is_kept() -> None:
    for execution in EXECUTIONS:
        layer = HetConv2d(8, 8, p=2, execution=execution)
        x = torch.randn(2, 8, 5, 5)
        last = layer(x.contiguous(memory_format=torch.channels_last))
        assert last.is_contiguous(memory_format=torch.channels_last)
    layer.execution = "dense"
    assert layer(x).is_contiguous()


def test_the_rule_is_dense_on_a_gpu_and_where_channels_are_few() -> None:
    wide, narrow = HetShape(128, 128, 3, 1, 4), HetShape(32, 32, 3, 1, 4)
    assert het_execution(wide, "cpu", torch.float32) == "grouped"
    assert het_execution(wide, "cuda", torch.float32) == "dense"
    assert het_execution(narrow, "cpu", torch.float32) == "dense"
    assert het_execution(HetShape(512, 512, 3, 1, 1), "cpu", torch.float32) == "dense"
    assert HetConv2d(128, 128, p=4).chosen_execution(torch.zeros(1, 128, 4, 4)) == "grouped"
    assert HetConv2d(32, 32, p=4).chosen_execution(torch.zeros(1, 32, 4, 4)) == "dense"


def test_a_table_rules_the_shapes_it_has_and_no_others() -> None:
    stages = (Choice("hetconv", p=2), Choice("hetconv", p=4), Choice("hetconv", p=4))
    arch = Architecture("resnet-cifar", (1, 8, 8), 10, stages)
    table = ExecutionTable(hetconv={str(HetShape(16, 16, 3, 1, 2)): "grouped"})
    torch.manual_seed(0)
    ruled = build_network(arch)
    torch.manual_seed(0)
    measured = build_network(arch, execution=table)
    found = [m.execution for m in measured.modules() if isinstance(m, HetConv2d)]
    assert found == ["grouped", None, None]
    assert all(m.execution is None for m in ruled.modules() if isinstance(m, HetConv2d))
    x = torch.randn(2, 1, 8, 8)
    torch.testing.assert_close(measured(x), ruled(x), atol=1e-4, rtol=1e-4)
    assert measured.state_dict().keys() == ruled.state_dict().keys()
    assert ExecutionTable.from_dict(table.to_dict()) == table


@pytest.mark.parametrize(
    ("mapping", "complaint"),
    [
        ([], "execution: .* it must be a mapping"),
        ({"devise": "cpu"}, "did you mean 'device'"),
        ({"device": "tpu"}, r"execution\.device: 'tpu' is not allowed"),
        ({"dtype": "int8"}, r"execution\.dtype: 'int8' is not allowed"),
        ({"hetconv": ["dense"]}, "it must map shapes"),
        ({"hetconv": {"8x8 kernel=3 stride=1 p=2": "sparse"}}, "'sparse' is not allowed"),
    ],
)
def test_a_wrong_table_is_refused(mapping, complaint) -> None:
    with pytest.raises(InputError, match=complaint):
        ExecutionTable.from_dict(mapping)


def test_an_unknown_execution_is_refused() -> None:
    with pytest.raises(ValueError, match="'dense', 'grouped' or None"):
        HetConv2d(8, 8, execution="sparse")


@pytest.mark.parametrize(("channels", "groups"), [(12, 3), (12, 4), (8, 8), (6, 1)])
def test_the_shuffle_of_maps_that_lie_as_channels_last_is_torch_s_in_their_own_layout(
    channels, groups
) -> None:
    x = torch.randn(2, channels, 5, 3).contiguous(memory_format=torch.channels_last)
    x.requires_grad_()
    got, expected = shuffled_channels_last(x, groups), F.channel_shuffle(x, groups)
    assert torch.equal(got, expected)
    assert got.is_contiguous(memory_format=torch.channels_last)
    upstream = torch.randn_like(expected)
    one, other = (torch.autograd.grad(y, x, upstream)[0] for y in (got, expected))
    assert torch.equal(one, other)
