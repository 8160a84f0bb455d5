"""Trained networks as files: an architecture and its weights together, never a pickled object."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..architecture import Architecture
from ..errors import InputError
from ..files import atomic_write
from ..layers.fold import fold_batch_norm
from .build import Network, build_network

FORMAT = 1
_MISMATCH = "its weights are not those of its architecture"


def save_network(
    path: str | Path,
    architecture: Architecture,
    state_dict: dict[str, Tensor],
    *,
    folded: bool = False,
    **info: Any,
) -> None:
    """Write architecture, weights (moved to the CPU) and plain `info` to one file, atomically.

    folded: the weights are those of `fold_batch_norm(network)`, made on the CPU.
    """
    atomic_write(Path(path), network_bytes(architecture, state_dict, folded=folded, **info))


def network_bytes(
    architecture: Architecture, state_dict: dict[str, Tensor], *, folded: bool = False, **info: Any
) -> bytes:
    """What `save_network` writes."""
    content = {
        "convnas": FORMAT,
        "architecture": architecture.to_dict(),
        "folded": folded,
        "state_dict": {name: tensor.detach().cpu() for name, tensor in state_dict.items()},
        "info": info,
    }
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def read_network_file(path: str | Path) -> dict[str, Any]:
    """The file's mapping, read with weights_only=True. Raises InputError for any other file."""
    try:
        with warnings.catch_warnings():
            # About a foreign pickle's protocol; such a file is refused below.
            warnings.simplefilter("ignore", UserWarning)
            content = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as e:
        raise InputError(str(path), "this file", f"it cannot be read: {e.strerror or e}") from e
    except Exception as e:
        # Whatever torch's reader falls over in bytes that are not its own.
        raise InputError(str(path), "this file", "it is not a file of weights, or damaged") from e
    if not isinstance(content, dict) or content.get("convnas") != FORMAT:
        raise InputError(str(path), "this file", "it was not written by convnas")
    return content


def load_network(path: str | Path) -> Network:
    """The trained network of an exported .pt file, on the CPU, in evaluation mode.

    One exported folded comes back folded, for inference only. Raises InputError.
    """
    content = read_network_file(path)
    try:
        network = build_network(_architecture(content["architecture"]))
        if content.get("folded"):
            # For its layers only: every number is written over by the file's.
            network = fold_batch_norm(network)
        network.load_state_dict(_as_built(network, content["state_dict"]))
    # A file that convnas marked may still lack a key or hold other types, shapes or operators.
    except (InputError, KeyError, RuntimeError, TypeError, AttributeError) as e:
        reason = str(e) if isinstance(e, InputError) else _MISMATCH
        raise InputError(str(path), "this file", reason) from e
    return network.eval()


def _as_built(network: Network, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights under this network's names.

    Files of 0.1.0 may hold `hetconv(p=1)` or `res2net(scales=1)` as layers of their own, which are
    plain convolutions now: the same tensors in the same order, under other names.
    """
    own = network.state_dict()
    if own.keys() == weights.keys() or len(own) != len(weights):
        return weights
    pairs = zip(own.items(), weights.values(), strict=True)
    return {name: given.view(tensor.shape) for (name, tensor), given in pairs}


def _architecture(content: dict[str, Any]) -> Architecture:
    try:
        return Architecture.from_dict(content)
    except InputError as e:
        own = "an operator of your own must be registered before: import its module"
        raise InputError(e.key, e.value, f"{e.allowed} ({own})") from e
