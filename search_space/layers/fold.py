"""Batch normalisation folded into the convolutions before it, for inference.

In evaluation a norm is a scale and a shift of each channel, so conv(x) scaled and shifted is one
convolution with other numbers:  weight * scale,  bias * scale + shift,  with
scale = gamma / sqrt(var + eps)  and  shift = beta - mean * scale.

What an operator's own layers do about it they say themselves, by the methods of `forms.py`.
"""

from __future__ import annotations

import copy
import itertools
from collections import Counter
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from .forms import AbsorbsNorm, InferenceForm, MeetsNeighbours
from .frequency import FrequencyNorm

NetworkT = TypeVar("NetworkT", bound=nn.Module)


class Affine(NamedTuple):
    """A norm in evaluation, channel by channel."""

    scale: Tensor
    shift: Tensor


def fold_batch_norm(network: NetworkT) -> NetworkT:
    """A copy of `network` for inference, with equal outputs up to rounding; the original is left
    as it is.

    Folded are the norms that follow a convolution or linear layer in an nn.Sequential, as
    everywhere in what `build_network` builds, and those inside layers that fold their own, as
    Res2Net's hierarchies. Layers with a form for inference get it (HetConv and OctConv: their
    weights laid out once). Other norms stay and work as before. The copy is in evaluation mode,
    has no batch normalisation to train, and can be exported and traced; its state dict fits
    networks of the same architecture folded on the same kind of device.
    """
    folded = copy.deepcopy(network).eval().requires_grad_(False)
    # A layer used in two places takes no norm and no order from the neighbours in one of them.
    uses = Counter(id(module) for _, module in folded.named_modules(remove_duplicate=False))
    shared = {key for key, count in uses.items() if count > 1}
    # The order matters: a form for inference copies its layer's numbers, so norms come before it,
    # and only the final forms can meet.
    for module in list(folded.modules()):
        if isinstance(module, nn.Sequential):
            _fold_row(module, shared)
    result: Any = _for_inference(folded, overwrites=False)
    for module in result.modules():
        if isinstance(module, nn.Sequential):
            _introduce(module, shared)
    return result  # type: ignore[no-any-return]


def _fold_row(row: nn.Sequential, shared: set[int]) -> None:
    for i in range(1, len(row)):
        layer, norm = row[i - 1], row[i]
        if not shared & {id(layer), id(norm)} and absorb(layer, norm):
            # In its place, so that the layers behind keep their names.
            row[i] = nn.Identity()


def absorb(layer: nn.Module, norm: nn.Module) -> bool:
    """Fold the norm into the layer, in place; False where these two do not fold."""
    affine = _affine(norm)
    if affine is None:
        return False
    # These types alone: a subclass may do something else with its weight.
    if type(layer) in (nn.Conv2d, nn.Linear):
        scale_rows(layer, *affine)
    elif isinstance(layer, AbsorbsNorm):
        layer.absorb_norm(*affine)
    else:
        return False
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


def scale_rows(layer: Any, scale: Tensor, shift: Tensor) -> None:
    """Absorb a norm into any layer whose `weight` has its output channels first."""
    weight = layer.weight
    layer.weight = parameter(weight * scale.view(-1, *[1] * (weight.dim() - 1)))
    layer.bias = parameter(shift if layer.bias is None else layer.bias * scale + shift)


def parameter(tensor: Tensor | None) -> Any:
    """A parameter of its own: it is saved and moved, never trained. None stays None."""
    return None if tensor is None else nn.Parameter(tensor.detach().clone(), requires_grad=False)


def _for_inference(module: nn.Module, *, overwrites: bool) -> nn.Module:
    """The module's form for inference, or its children replaced by theirs; `overwrites`: nobody
    else reads what it is given."""
    if isinstance(module, InferenceForm):
        return module.for_inference(overwrites)
    before: nn.Module | None = None
    for name, child in list(module.named_children()):
        # What an in-place ReLU inside a row gives is read by the next layer alone.
        fresh = isinstance(module, nn.Sequential) and isinstance(before, nn.ReLU) and before.inplace
        setattr(module, name, _for_inference(child, overwrites=fresh))
        before = child
    return module


def convolution(
    weight: Tensor,
    bias: Tensor | None,
    stride: int,
    padding: int,
    dilation: int = 1,
    groups: int = 1,
) -> nn.Conv2d:
    """A plain convolution with a copy of these numbers; weight: (out, in / groups, K, K)."""
    outputs, inputs, kernel, _ = weight.shape
    # On meta: no numbers are drawn that the next line replaces.
    conv = nn.Conv2d(
        inputs * groups, outputs, kernel, stride, padding, dilation, groups, device="meta"
    )
    conv.weight, conv.bias = parameter(weight), parameter(bias)
    return conv


def is_plain(layer: nn.Module) -> bool:
    """Whether it is an ungrouped nn.Conv2d, whose channels may be put into any order."""
    return type(layer) is nn.Conv2d and layer.groups == 1


def _introduce(row: nn.Sequential, shared: set[int]) -> None:
    """Let neighbours in a row save work together; norms folded and ReLUs lie between none."""
    # Both act on each channel alone, so an order of channels passes through them.
    chain = [layer for layer in row if not isinstance(layer, nn.Identity | nn.ReLU)]
    for pair in itertools.pairwise(chain):
        if shared & set(map(id, pair)):
            continue
        meeting = next((layer for layer in pair if isinstance(layer, MeetsNeighbours)), None)
        if meeting is not None:
            meeting.meet(*pair)
