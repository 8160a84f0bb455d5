"""What `nn.Conv2d` takes and stores, as numbers of the square, zero-padded convolutions here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

Size = int | Sequence[int]
"""One number for both directions, or one for each, as `nn.Conv2d` stores it."""


class ConvNumbers(NamedTuple):
    kernel_size: int
    stride: int
    padding: int
    dilation: int


def conv_numbers(
    kernel_size: Size,
    stride: Size,
    padding: Size | str,
    dilation: Size = 1,
    padding_mode: str = "zeros",
) -> ConvNumbers:
    """The arguments in any of `nn.Conv2d`'s forms, as single numbers. ValueError, naming the
    argument, for what differs in height and width and for paddings with anything but zeros."""
    if padding_mode != "zeros":
        raise ValueError(f"padding_mode must be 'zeros', not {padding_mode!r}")
    kernel, step = _square("kernel_size", kernel_size), _square("stride", stride)
    spacing = _square("dilation", dilation)
    if isinstance(padding, str):
        around = _named_padding(padding, kernel, step, spacing)
    else:
        around = _square("padding", padding, least=0)
    return ConvNumbers(kernel, step, around, spacing)


def _square(name: str, value: Size, least: int = 1) -> int:
    sizes = [value] if isinstance(value, int) else list(value)
    if len(sizes) not in (1, 2) or len(set(sizes)) > 1:
        raise ValueError(f"{name} must be the same in height and width, not {value}")
    if sizes[0] < least:
        raise ValueError(f"{name} must be {least} or more, not {value}")
    return int(sizes[0])


def _named_padding(padding: str, kernel: int, stride: int, dilation: int) -> int:
    if padding == "valid":
        return 0
    if padding != "same":
        raise ValueError(f"padding must be a number, 'same' or 'valid', not {padding!r}")
    if stride != 1:
        raise ValueError(f"padding='same' needs stride 1, not {stride}")
    if kernel % 2 == 0:
        raise ValueError(f"padding='same' needs an odd kernel_size, not {kernel}")
    return dilation * (kernel // 2)


def has_bias(bias: bool | Tensor | None) -> bool:
    """`nn.Conv2d` takes a truth value and stores a tensor or None; either says it here."""
    return bias is not None and bias is not False
