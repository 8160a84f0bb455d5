"""An ONNX network in 8-bit integers: ONNX Runtime's static quantisation, calibrated on training
images, and the accuracy of either.

Weights are signed bytes with a scale for each output channel, feature maps bytes with one scale
each, which loses least of what needs no further training (Krishnamoorthi, arXiv 1806.08342).
"""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ...evaluators.data.split import Split

CALIBRATION = 512
"""Training images whose feature maps give the scales: always the same, drawn over all of them."""

_BATCH = 64


def quantised(model: bytes, train: Split) -> bytes:
    """The same network with its convolutions and linear layers in int8: images and logits stay
    float32, under the same names, and the batch has any size."""
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    chosen = np.random.default_rng(0).permutation(len(train))[:CALIBRATION]
    with tempfile.TemporaryDirectory() as folder, _silent():
        plain, ready, out = (str(Path(folder) / f"{name}.onnx") for name in ("a", "b", "c"))
        Path(plain).write_bytes(model)
        quant_pre_process(plain, ready, skip_symbolic_shape=True)
        quantize_static(
            ready,
            out,
            _Images(train.part(torch.from_numpy(chosen))),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            op_types_to_quantize=["Conv", "Gemm", "MatMul"],
        )
        return Path(out).read_bytes()


class _Images:
    """What ONNX Runtime calls a CalibrationDataReader."""

    def __init__(self, split: Split) -> None:
        self._batches = _batches(split)

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        images = next(self._batches, None)
        return None if images is None else {"images": images}


def onnx_accuracy(model: bytes, split: Split) -> float:
    """The share of `split` whose class the network finds, in ONNX Runtime on the CPU."""
    import onnxruntime

    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    found = [session.run(None, {"images": images})[0].argmax(1) for images in _batches(split)]
    return float((np.concatenate(found) == split.labels.numpy()).mean())


def _batches(split: Split) -> Iterator[NDArray[np.float32]]:
    for start in range(0, len(split), _BATCH):
        yield split.batch(slice(start, start + _BATCH)).numpy()


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Without ONNX Runtime's advice to preprocess, which has been done."""
    with contextlib.redirect_stdout(io.StringIO()):
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(logging.NOTSET)
