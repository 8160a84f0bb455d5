"""Batch normalisation folded into the convolutions before it, for inference.

In evaluation a norm is a scale and a shift of each channel, so conv(x) scaled and shifted is one
convolution with other numbers:  weight * scale,  bias * scale + shift,  with
scale = gamma / sqrt(var + eps)  and  shift = beta - mean * scale.
"""

from __future__ import annotations

import copy
import itertools
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from .frequency import FrequencyNorm
from .hetconv import HetConv2d
from .hetconv_execution import het_execution
from .inference import FoldedOctConv2d, FoldedRes2NetConv2d, GroupedHetConv2d, parameter
from .octave import OctConv2d
from .res2net import Res2NetConv2d

NetworkT = TypeVar("NetworkT", bound=nn.Module)


class Affine(NamedTuple):
    """A norm in evaluation, channel by channel."""

    scale: Tensor
    shift: Tensor


def fold_batch_norm(network: NetworkT) -> NetworkT:
    """A copy of `network` for inference, with equal outputs up to rounding; the original is left
    as it is.

    Folded are the norms that follow a convolution or linear layer in an nn.Sequential, as
    everywhere in what `build_network` builds, and those inside Res2Net's hierarchies. Every HetConv
    and OctConv gets its weights laid out for inference. Other norms stay and work as before. The
    copy is in evaluation mode, has no batch normalisation to train, and can be exported and traced;
    its state dict fits networks of the same architecture folded on the same kind of device.
    """
    folded = copy.deepcopy(network).eval().requires_grad_(False)
    uses = Counter(id(module) for _, module in folded.named_modules(remove_duplicate=False))
    shared = {key for key, count in uses.items() if count > 1}
    for module in list(folded.modules()):
        if isinstance(module, nn.Sequential):
            _fold_row(module, shared)
        elif isinstance(module, Res2NetConv2d):
            for i, (conv, norm) in enumerate(zip(module.convs, module.norms, strict=True)):
                if _absorb(conv, norm):
                    module.norms[i] = nn.Identity()
    result: Any = _laid_out(folded, overwrites=False)
    for module in result.modules():
        if isinstance(module, nn.Sequential):
            _drop_shuffles(module, shared)
    return result  # type: ignore[no-any-return]


def _fold_row(row: nn.Sequential, shared: set[int]) -> None:
    for i in range(1, len(row)):
        layer, norm = row[i - 1], row[i]
        if not shared & {id(layer), id(norm)} and _absorb(layer, norm):
            row[i] = nn.Identity()


def _absorb(layer: nn.Module, norm: nn.Module) -> bool:
    """Fold the norm into the layer, in place; False where these two do not fold."""
    affine = _affine(norm)
    if affine is None or type(layer) not in ABSORB:
        return False
    ABSORB[type(layer)](layer, affine)
    return True


def _affine(norm: nn.Module) -> Affine | None:
    if isinstance(norm, FrequencyNorm):
        parts = [norm.low] if isinstance(norm.high, nn.Identity) else [norm.high, norm.low]
        both = [_affine(part) for part in parts]
        return Affine(*map(torch.cat, zip(*[one for one in both if one], strict=True)))
    if not isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d) or norm.running_var is None:
        return None
    assert norm.running_mean is not None
    scale = (norm.running_var + norm.eps).rsqrt()
    if norm.weight is not None:
        scale = scale * norm.weight
    shift = -norm.running_mean * scale
    return Affine(scale, shift if norm.bias is None else shift + norm.bias)


def _scale_rows(layer: Any, affine: Affine) -> None:
    """For every layer whose weight has its output channels first."""
    weight = layer.weight
    layer.weight = parameter(weight * affine.scale.view(-1, *[1] * (weight.dim() - 1)))
    _shift(layer, affine)


def _scale_paths(layer: OctConv2d, affine: Affine) -> None:
    scales = {"high": affine.scale[: layer.high_out], "low": affine.scale[layer.high_out :]}
    for source in ("high", "low"):
        for target, scale in scales.items():
            weight = getattr(layer, f"{source}_to_{target}")
            if weight is not None:
                scaled = parameter(weight * scale.view(-1, 1, 1, 1))
                setattr(layer, f"{source}_to_{target}", scaled)
    _shift(layer, affine)


def _shift(layer: Any, affine: Affine) -> None:
    before = 0 if layer.bias is None else layer.bias * affine.scale
    layer.bias = parameter(before + affine.shift)


ABSORB: dict[type[nn.Module], Callable[[Any, Affine], None]] = {
    nn.Conv2d: _scale_rows,
    nn.Linear: _scale_rows,
    HetConv2d: _scale_rows,
    OctConv2d: _scale_paths,
}


def _laid_out(module: nn.Module, *, overwrites: bool) -> nn.Module:
    """The module for inference, its children replaced by theirs; `overwrites`: nobody else reads
    what it is given."""
    if type(module) in LAY_OUT:
        return LAY_OUT[type(module)](module, overwrites)
    before: nn.Module | None = None
    for name, child in list(module.named_children()):
        # What an in-place ReLU inside a row gives is read by the next layer alone.
        fresh = isinstance(module, nn.Sequential) and isinstance(before, nn.ReLU) and before.inplace
        setattr(module, name, _laid_out(child, overwrites=fresh))
        before = child
    return module


def _conv2d(
    weight: Tensor,
    bias: Tensor | None,
    stride: int,
    padding: int,
    dilation: int = 1,
    groups: int = 1,
) -> nn.Conv2d:
    outputs, inputs, kernel, _ = weight.shape
    conv = nn.Conv2d(
        inputs * groups, outputs, kernel, stride, padding, dilation, groups, device="meta"
    )
    conv.weight, conv.bias = parameter(weight), parameter(bias)
    return conv


def _lay_out_het(layer: HetConv2d, overwrites: bool) -> nn.Module:
    weight = layer.weight
    execution = layer.execution or het_execution(layer.shape, weight.device.type, weight.dtype)
    if execution == "dense":
        return _conv2d(layer.dense_weight(), layer.bias, layer.stride, layer.padding)
    bias, order = layer.bias, residue_order(layer.out_channels, layer.p).to(weight.device)
    grouped, pointwise = layer.grouped_weights()
    bias = None if bias is None else bias[order]  # type: ignore[assignment]
    return GroupedHetConv2d(grouped, pointwise, bias, layer.shape, layer.padding)


def _lay_out_octave(layer: OctConv2d, overwrites: bool) -> nn.Module:
    if layer.plain:
        assert layer.high_to_high is not None
        return _conv2d(
            layer.high_to_high,
            layer.bias,
            layer.stride,
            layer.padding,
            dilation=layer.dilation,
            groups=layer.groups,
        )
    four = (layer.high_to_high, layer.high_to_low, layer.low_to_high, layer.low_to_low)
    if layer.groups > 1 or any(weight is None for weight in four):
        return layer
    hh, hl, lh, ll = (weight for weight in four if weight is not None)
    bias = hh.new_zeros(layer.out_channels) if layer.bias is None else layer.bias
    return FoldedOctConv2d(
        hh,
        lh,
        torch.cat([hl, ll], dim=1),
        bias[: layer.high_out],
        bias[layer.high_out :],
        stride=layer.stride,
        padding=layer.padding,
        dilation=layer.dilation,
    )


def _lay_out_res2net(layer: Res2NetConv2d, overwrites: bool) -> nn.Module:
    if not all(isinstance(norm, nn.Identity) for norm in layer.norms):
        return layer
    return FoldedRes2NetConv2d(
        layer.convs, layer.scales, layer.stride, layer.stage_block, overwrites=overwrites
    )


LAY_OUT: dict[type[nn.Module], Callable[[Any, bool], nn.Module]] = {
    HetConv2d: _lay_out_het,
    OctConv2d: _lay_out_octave,
    Res2NetConv2d: _lay_out_res2net,
}


def residue_order(channels: int, p: int) -> Tensor:
    """0, p, 2p, ..., 1, p + 1, ...: the channels in the order of a grouped HetConv."""
    return torch.arange(channels).view(-1, p).t().flatten()


def _drop_shuffles(row: nn.Sequential, shared: set[int]) -> None:
    """Let the neighbours of grouped HetConvs give and take channels in their order."""
    chain = [layer for layer in row if not isinstance(layer, nn.Identity | nn.ReLU)]
    for one, other in itertools.pairwise(chain):
        if shared & {id(one), id(other)}:
            continue
        if isinstance(one, GroupedHetConv2d) and isinstance(other, GroupedHetConv2d):
            one.shuffles_output = other.shuffles_input = one.shape.p != other.shape.p
        elif isinstance(other, GroupedHetConv2d) and _plain(one):
            _reorder(one, 0, other.shape.p)
            other.shuffles_input = False
        elif isinstance(one, GroupedHetConv2d) and _plain(other):
            _reorder(other, 1, one.shape.p)
            one.shuffles_output = False


def _plain(layer: nn.Module) -> bool:
    return type(layer) is nn.Conv2d and layer.groups == 1


def _reorder(conv: Any, dim: int, p: int) -> None:
    weight = conv.weight
    last = weight.is_contiguous(memory_format=torch.channels_last)
    layout = torch.channels_last if last else torch.contiguous_format
    order = residue_order(weight.shape[dim], p).to(weight.device)
    conv.weight = parameter(weight.index_select(dim, order).contiguous(memory_format=layout))
    if dim == 0 and conv.bias is not None:
        conv.bias = parameter(conv.bias[order])
