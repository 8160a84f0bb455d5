"""A dense kernel's numbers carried into the operator that takes its place.

HetConv keeps the KxK kernels of each filter's residue class and, of the others, the centre; OctConv
takes the four blocks of the kernel, the channels that half resolution harms least being its low
ones. Where there are maps that the layer has read, all numbers are then moved, from there, to where
they give what the layer gave, in least squares with a ridge (`fitted`).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..choice import Choice
from ..layers.modules.hetconv_conv2d import HetConv2d
from ..layers.modules.octave_conv2d import OctConv2d
from ..layers.modules.octave_paths import pooled, upsampled
from .inner_octave import InnerOctConv2d
from .options import plan_layer
from .regression import Rows, fitted, patches
from .trace import Call

_WINDOWS = 2**26
"""Numbers that the windows of a fit may hold, 256 MiB of them."""


def carried(conv: nn.Conv2d, call: Call, choice: Choice, maps: Tensor | None = None) -> nn.Module:
    """The operator in place of `conv`, with its numbers, on its device.

    maps: (N, C_in, H, W) that the layer has read; None: by the kernel alone.
    """
    if maps is not None:
        # Each pixel is written out as the window that it reads; of large maps a few are enough.
        maps = maps[: max(1, _WINDOWS // (maps[0].numel() * conv.kernel_size[0] ** 2))]
    made = plan_layer(conv, call, choice).build().to(conv.weight.device, conv.weight.dtype)
    with torch.no_grad():
        if isinstance(made, HetConv2d):
            _into_hetconv(conv, made, maps)
        else:
            assert isinstance(made, OctConv2d)
            made = _into_octave(conv, made, maps)
    return made.train(conv.training)


def _into_hetconv(conv: nn.Conv2d, made: HetConv2d, maps: Tensor | None) -> None:
    inputs, size = conv.weight.shape[1:3]
    window = conv.weight.flatten(2)  # (out, in, K * K)
    seen = None
    if maps is not None:
        wanted = nn.functional.conv2d(maps, conv.weight, None, conv.stride, conv.padding)
        seen = Rows.drawn(patches(maps, size, conv.stride[0], size // 2), wanted)
    for residue in range(made.p):
        own = torch.arange(residue, inputs, made.p, device=window.device)
        others = torch.tensor([c for c in range(inputs) if c % made.p != residue]).to(own.device)
        filters = window[residue :: made.p]
        prior = torch.cat([filters[:, own].flatten(1), filters[:, others, size**2 // 2]], dim=1)
        if seen is not None:
            # A column for each number of a kernel: channel by channel, then by place.
            columns = torch.arange(inputs * size**2, device=own.device).view(inputs, -1)
            used = torch.cat([columns[own].flatten(), columns[others, size**2 // 2]])
            prior = fitted(prior, seen.features[:, used], seen.targets[:, residue :: made.p])
        made.weight[residue :: made.p] = prior
    if conv.bias is not None and made.bias is not None:
        made.bias.copy_(conv.bias)


def _into_octave(conv: nn.Conv2d, made: OctConv2d, maps: Tensor | None) -> InnerOctConv2d:
    low_in, low_out = made.in_channels - made.high_in, made.out_channels - made.high_out
    loss_in, loss_out = _losses(conv, maps)
    if conv.groups > 1:
        # Depthwise: a filter goes with its channel.
        loss_in = loss_out = loss_in + loss_out
    source_order, out_order = _order(loss_in, low_in), _order(loss_out, low_out)
    kernel = conv.weight[out_order]
    if conv.groups == 1:
        kernel = kernel[:, source_order]
        if maps is not None:
            wanted = nn.functional.conv2d(maps, conv.weight, None, 1, conv.padding)
            kernel = _fitted_octave(made, kernel, maps[:, source_order], wanted[:, out_order])
    rows = {"high": slice(made.high_out), "low": slice(made.high_out, None)}
    columns = {"high": slice(made.high_in), "low": slice(made.high_in, None)}
    for name in made.groups_of:
        source, _, target = name.partition("_to_")
        block = kernel[rows[target]]
        getattr(made, name).copy_(block if conv.groups > 1 else block[:, columns[source]])
    if conv.bias is not None and made.bias is not None:
        made.bias.copy_(conv.bias[out_order])
    return InnerOctConv2d(made, source_order, out_order)


def _fitted_octave(made: OctConv2d, kernel: Tensor, maps: Tensor, wanted: Tensor) -> Tensor:
    """kernel: (out, in, K, K), maps and what they should become, all in the octave's order."""
    size, high_in = made.kernel_size, made.high_in
    high, low = maps[:, :high_in], pooled(maps[:, high_in:])
    padding = size // 2
    # What a low map's window gives is repeated over the 2x2 pixels that it stands for.
    repeated = upsampled(patches(low, size, 1, padding), maps)
    above = torch.cat([patches(high, size, 1, padding), repeated], dim=1)
    below = patches(torch.cat([pooled(high), low], dim=1), size, 1, padding)
    flat = kernel.flatten(1)
    halves = (
        (flat[: made.high_out], above, wanted[:, : made.high_out]),
        (flat[made.high_out :], below, pooled(wanted[:, made.high_out :])),
    )
    rows = [fitted(prior, *Rows.drawn(features, targets)) for prior, features, targets in halves]
    return torch.cat(rows).view_as(kernel)


def _losses(conv: nn.Conv2d, maps: Tensor | None) -> tuple[Tensor, Tensor]:
    """(in,) and (out,): what it would cost to keep a channel at half resolution."""
    weight = conv.weight
    # Depthwise, the one channel of a filter is the filter's own.
    taken = weight.flatten(1) if conv.groups > 1 else weight.transpose(0, 1).flatten(1)
    power = taken.square().sum(1)
    if maps is None:
        return power, weight.square().flatten(1).sum(1)
    given = nn.functional.conv2d(maps, weight, None, 1, conv.padding, 1, conv.groups)
    return power * _blurred(maps), _blurred(given)


def _blurred(maps: Tensor) -> Tensor:
    """(channels,) mean square of what half resolution takes from a map."""
    return (maps - upsampled(pooled(maps), maps)).square().mean((0, 2, 3))


def _order(loss: Tensor, low: int) -> Tensor:
    """All channels, the `low` ones that lose least last; both parts ascending."""
    by_loss = torch.argsort(loss, descending=True, stable=True)
    count = len(loss) - low
    return torch.cat([by_loss[:count].sort()[0], by_loss[count:].sort()[0]])
