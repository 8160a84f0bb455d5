"""Which of a HetConv layer's two executions runs: a fixed rule, or a table measured on a machine.

The rule depends on nothing but the layer's shape, the dtype and the kind of device, so one seed
gives one result. Its numbers come from benchmarks/operators.py; docs/operators.md says how they
were found. A table holds what `tune` measured, is plain data, and rules only the networks that it
is applied to: `build_network(architecture, execution=table)`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import torch
from torch import nn

from ..errors import InputError, unknown_key

Execution = Literal["dense", "grouped"]


def check_execution(value: Execution | None) -> Execution | None:
    """Raises ValueError."""
    if value not in (None, "dense", "grouped"):
        raise ValueError(f"execution must be 'dense', 'grouped' or None (the rule), not {value!r}")
    return value


class HetShape(NamedTuple):
    """What the choice of an execution depends on, beside device and dtype."""

    in_channels: int
    out_channels: int
    kernel: int
    stride: int
    p: int

    @property
    def weights(self) -> int:
        """Numbers of the filters: a KxK kernel for one input channel in p, else one number."""
        own = self.in_channels // self.p
        return self.out_channels * (own * self.kernel**2 + self.in_channels - own)

    def __str__(self) -> str:
        return (
            f"{self.in_channels}x{self.out_channels} kernel={self.kernel} stride={self.stride}"
            f" p={self.p}"
        )


class TwoExecutions(nn.Module):
    """A layer that runs dense or grouped; None leaves it to the rule."""

    shape: HetShape
    execution: Execution | None


def het_execution(shape: HetShape, device: str, dtype: torch.dtype) -> Execution:
    """The rule.

    On a CPU, grouped where there are channels enough for its fewer multiplications to outweigh two
    shuffles and one more convolution. Elsewhere dense: a GPU's convolutions of these sizes wait for
    memory and launches, of which grouped has several times as many.
    """
    if device != "cpu" or shape.p == 1:
        return "dense"
    # A larger kernel saves more; a stride leaves the shuffle of the input what it was.
    needed = (64 if shape.kernel == 3 else 32) * shape.stride
    if shape.p < 4:
        needed *= 2 * shape.stride
    if shape.in_channels < 4 * shape.p:
        needed *= 2  # groups too narrow for vector instructions
    if dtype != torch.float32:
        needed *= 2  # half the time to multiply, the same to shuffle
    return "grouped" if min(shape.in_channels, shape.out_channels) >= needed else "dense"


@dataclass(frozen=True)
class ExecutionTable:
    """Executions measured on one machine: shape's text -> execution, for a device and a dtype."""

    device: str = "cpu"
    dtype: str = "float32"
    hetconv: Mapping[str, Execution] = field(default_factory=dict)

    @classmethod
    def from_dict(cls, mapping: Any) -> ExecutionTable:
        """From what `to_dict` or `convnas tune` gave. Raises InputError under `execution`."""
        if not isinstance(mapping, Mapping):
            raise InputError("execution", mapping, "it must be a mapping, as convnas tune writes")
        for key in mapping:
            if key not in ("device", "dtype", "hetconv"):
                raise unknown_key("execution", key, ("device", "dtype", "hetconv"))
        for key, allowed in (("device", ("cpu", "cuda")), ("dtype", ("float32", "bfloat16"))):
            if mapping.get(key, allowed[0]) not in allowed:
                raise InputError(
                    f"execution.{key}", mapping[key], f"choose from: {', '.join(allowed)}"
                )
        chosen = mapping.get("hetconv", {})
        if not isinstance(chosen, Mapping):
            raise InputError("execution.hetconv", chosen, "it must map shapes to executions")
        for shape, execution in chosen.items():
            if execution not in ("dense", "grouped"):
                raise InputError(
                    f"execution.hetconv.{shape}", execution, "choose from: dense, grouped"
                )
        return cls(**{**mapping, "hetconv": dict(chosen)})

    def to_dict(self) -> dict[str, Any]:
        return {"device": self.device, "dtype": self.dtype, "hetconv": dict(self.hetconv)}

    def apply(self, network: nn.Module) -> None:
        """Let the network's HetConv layers of a measured shape run as measured, in place."""
        for layer in network.modules():
            if isinstance(layer, TwoExecutions):
                layer.execution = self.hetconv.get(str(layer.shape), layer.execution)
