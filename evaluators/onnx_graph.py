"""A network as an ONNX graph, by torch's exporter: for exports, and to measure latency."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from ..search_space.errors import InputError


def check_exporter(key: str, value: str) -> None:
    """InputError for `key: value`, which wants ONNX, where the extra `onnx` is not installed."""
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401  (torch's exporter is written with it)
    except ImportError as e:
        missing = f"it needs {e.name}, which pip install 'convnas[onnx]' brings"
        raise InputError(key, value, missing) from e


def onnx_graph(
    network: nn.Module,
    arguments: tuple[Any, ...],
    dynamic: tuple[Any, ...] | None = None,
    **names: Any,
) -> Any:
    """The graph of `network(*arguments)`, as an onnx.ModelProto with its weights.

    dynamic: which sizes of each argument are free, as torch.export takes it; None: none is.
    names: `input_names` and `output_names`.
    """
    with without_notices(), torch.no_grad():
        program = torch.onnx.export(
            network,
            arguments,
            dynamo=True,
            verbose=False,
            dynamic_shapes=dynamic,
            **names,
        )
    assert program is not None
    return program.model_proto


@contextmanager
def without_notices() -> Iterator[None]:
    """Without torch's notices about its own future, which no user of an export can act on."""
    with warnings.catch_warnings():
        for kind in (FutureWarning, DeprecationWarning, UserWarning):
            warnings.simplefilter("ignore", kind)
        yield
