"""A network as a graph that runs without convnas: torch.export's .pt2, and ONNX."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ...evaluators.onnx_graph import check_exporter, onnx_graph, without_notices
from ..errors import RunError

TOLERANCE = 1e-4
"""Greatest difference between ONNX Runtime's outputs and torch's, relative to the largest output
where that is above 1."""


def pt2_bytes(network: nn.Module, shape: tuple[int, int, int], info: Mapping[str, Any]) -> bytes:
    """For `torch.export.load`; the batch may have any size, and `info` goes along as an extra
    file, convnas.json."""
    with without_notices(), torch.no_grad():
        # The example is a batch of 2, since a size of 0 or 1 would be taken for a constant.
        batch = {0: torch.export.Dim("batch")}
        program = torch.export.export(network, (_images(2, shape),), dynamic_shapes=(batch,))
        buffer = io.BytesIO()
        torch.export.save(program, buffer, extra_files={"convnas.json": json.dumps(info)})
    return buffer.getvalue()


def onnx_bytes(network: nn.Module, shape: tuple[int, int, int], info: Mapping[str, Any]) -> bytes:
    """One file with its weights; input "images", output "logits", any batch size, `info` among its
    metadata under "convnas". It is run in ONNX Runtime and must give what torch gives.

    Raises InputError where the extra `onnx` is not installed, RunError where outputs differ.
    """
    check_exporter("format", "onnx")
    import onnxruntime

    graph = onnx_graph(
        network,
        (_images(2, shape),),
        ({0: torch.export.Dim("batch")},),
        input_names=["images"],
        output_names=["logits"],
    )
    content = labelled(graph.SerializeToString(), info)
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    # Neither is the size of the example, so it shows, too, that the batch may have any.
    for size in (1, 3):
        images = _images(size, shape)
        with torch.no_grad():
            expected: Tensor = network(images)
        (given,) = session.run(None, {"images": images.numpy()})
        difference = float((torch.from_numpy(given) - expected).abs().max())
        # Written so that NaN is a difference.
        if not difference <= TOLERANCE * max(1.0, float(expected.abs().max())):
            raise RunError(f"ONNX Runtime's outputs differ from torch's by {difference:.2g}")
    return content


def labelled(model: bytes, info: Mapping[str, Any]) -> bytes:
    """The ONNX network with `info` among its metadata, as "convnas", in place of what was there."""
    import onnx

    loaded = onnx.load_from_string(model)
    onnx.helper.set_model_props(loaded, {"convnas": json.dumps(info)})
    content: bytes = loaded.SerializeToString()
    return content


def _images(size: int, shape: tuple[int, int, int]) -> Tensor:
    """(size, C, H, W) normal noise, as normalised images are."""
    return torch.randn(size, *shape, generator=torch.Generator().manual_seed(size))
