"""The operators in place of nn.Conv2d: what that takes and stores is taken, or refused by name."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from convnas import HetConv2d, OctConv2d


def copied(kind, conv: nn.Conv2d, **more):
    """As anybody would replace a layer of his own: its attributes handed on."""
    names = ("kernel_size", "stride", "padding", "dilation", "groups", "bias", "padding_mode")
    attributes = {name: getattr(conv, name) for name in names}
    where = {"device": conv.weight.device, "dtype": conv.weight.dtype}
    return kind(conv.in_channels, conv.out_channels, **attributes, **where, **more)


PLAIN = {
    "a tuple each": {"kernel_size": (3, 3), "stride": (2, 2), "padding": (1, 1)},
    "bias": {"kernel_size": 3, "padding": 1, "bias": True},
    "same": {"kernel_size": 5, "padding": "same"},
    "valid": {"kernel_size": 3, "padding": "valid"},
    "double": {"kernel_size": 1, "dtype": torch.float64},
}
OCTAVE = {
    **PLAIN,
    "dilated": {"kernel_size": 3, "padding": 4, "dilation": (4, 4)},
    "dilated, same": {"kernel_size": 3, "padding": "same", "dilation": 2},
    "grouped": {"kernel_size": 3, "groups": 4},
}


@pytest.mark.parametrize("settings", OCTAVE.values(), ids=OCTAVE)
def test_an_octave_convolution_without_low_part_is_the_plain_one(settings) -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(8, 12, **settings)
    layer = copied(OctConv2d, conv, alpha_in=0, alpha_out=0)
    assert {p.dtype for p in layer.parameters()} == {conv.weight.dtype}
    layer.high_to_high.data.copy_(conv.weight)
    if conv.bias is not None:
        layer.bias.data.copy_(conv.bias)
    assert (layer.bias is None) == (conv.bias is None)
    x = torch.randn(2, 8, 9, 9, dtype=conv.weight.dtype)
    torch.testing.assert_close(layer(x), conv(x))


@pytest.mark.parametrize("settings", PLAIN.values(), ids=PLAIN)
def test_a_heterogeneous_convolution_with_p_1_is_the_plain_one(settings) -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(8, 12, **settings)
    layer = copied(HetConv2d, conv, p=1)
    layer.weight.data.copy_(conv.weight.flatten(1))
    if conv.bias is not None:
        layer.bias.data.copy_(conv.bias)
    x = torch.randn(2, 8, 9, 9, dtype=conv.weight.dtype)
    torch.testing.assert_close(layer(x), conv(x))


def test_a_device_is_taken() -> None:
    for layer in (
        HetConv2d(8, 8, p=2, bias=True, device="meta"),
        OctConv2d(8, 8, 3, padding=1, bias=True, device="meta"),
    ):
        tensors = [*layer.parameters(), *layer.buffers()]
        assert {tensor.device.type for tensor in tensors} == {"meta"}


REFUSED = [
    ({"kernel_size": (3, 1)}, "kernel_size must be the same in height and width"),
    ({"stride": (1, 2)}, "stride must be the same in height and width"),
    ({"padding": (1, 0)}, "padding must be the same in height and width"),
    ({"dilation": (1, 2)}, "dilation must be the same in height and width"),
    ({"stride": 0}, "stride must be 1 or more"),
    ({"padding": "full"}, "padding must be a number, 'same' or 'valid', not 'full'"),
    ({"padding": "same", "stride": 2}, "padding='same' needs stride 1"),
    ({"padding": "same", "kernel_size": 2}, "padding='same' needs an odd kernel_size"),
    ({"padding_mode": "reflect"}, "padding_mode must be 'zeros', not 'reflect'"),
]


@pytest.mark.parametrize(
    ("kind", "settings", "complaint"),
    [
        *[(kind, *case) for kind in (HetConv2d, OctConv2d) for case in REFUSED],
        (HetConv2d, {"groups": 2}, "groups must be 1"),
        (HetConv2d, {"dilation": 2}, "dilation must be 1"),
    ],
)
def test_what_cannot_be_is_refused_by_name(kind, settings, complaint) -> None:
    with pytest.raises(ValueError, match=complaint):
        kind(8, 8, **{"kernel_size": 3, "padding": 1, **settings})


@pytest.mark.parametrize(
    ("kind", "more"), [(HetConv2d, {"p": 4}), (OctConv2d, {"alpha_in": 0, "alpha_out": 0})]
)
def test_the_convolutions_of_a_resnet_of_timm_are_replaced_by_a_loop(kind, more) -> None:
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    network = timm.create_model("resnet10t", num_classes=3)
    replaced = 0
    for name, conv in list(network.named_modules()):
        if type(conv) is nn.Conv2d and conv.in_channels % 4 == 0:
            parent = network.get_submodule(name.rpartition(".")[0])
            setattr(parent, name.rpartition(".")[2], copied(kind, conv, **more))
            replaced += 1
    # Three of the stem's, two of each of four blocks, three shortcuts; not the one that sees RGB.
    assert replaced == 13
    images = torch.randn(2, 3, 32, 32)
    loss = network(images).square().sum()
    loss.backward()
    assert all(p.grad is not None for p in network.parameters())
