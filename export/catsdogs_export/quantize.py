"""Quantizes an ONNX file to INT8: static, per channel, QDQ, uint8 activations and int8 weights.

Uint8 activations because ONNX Runtime's defaults (int8) leave 20 convolutions and every addition of a
ResNet50 in float on x86: its int8-to-uint8 rewrite gives up where a tensor has two readers, as every
residual does (onnxruntime/core/optimizer/qdq_transformer/qdq_s8_to_u8.cc).
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import onnx
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process

from catsdogs_edge.contract import Contract
from catsdogs_edge.image import RgbBatch, load

CALIBRATION_PICTURES = 200
"""Enough for stable ranges; all classes must be among them."""


def quantize(fp32: Path, int8: Path, contract: Contract, calibration: Sequence[Path]) -> None:
    """Writes an INT8 version of an ONNX file.

    Batch normalization is folded first. What is left in float: the subtraction of the mean, whose
    input and constant would be rounded for nothing, and the softmax, whose output would be.

    Args:
        fp32: From `convert`.
        int8: To write; overwritten if it exists.
        contract: To put inside the INT8 file.
        calibration: Training pictures, all readable; their activations' smallest and largest values
            become the ranges (MinMax, which keeps no activation in memory).
    """
    folded = int8.with_suffix(".folded.onnx")
    try:
        # Symbolic shape inference is for transformers, and would need another package.
        quant_pre_process(str(fp32), str(folded), skip_symbolic_shape=True)
        quantize_static(
            str(folded),
            str(int8),
            _Calibration(calibration, contract),
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
            nodes_to_exclude=_left_in_float(folded, contract),
            calibrate_method=CalibrationMethod.MinMax,
        )
    finally:
        folded.unlink(missing_ok=True)
    model = onnx.load(int8)
    onnx.helper.set_model_props(model, contract.to_metadata())
    int8.write_bytes(model.SerializeToString())


def _left_in_float(path: Path, contract: Contract) -> list[str]:
    """Names the softmax, and everything from the input to the first convolution."""
    nodes = onnx.load(path).graph.node
    names = [node.name for node in nodes if contract.probabilities_name in node.output]
    reached = {contract.input_name}
    for node in nodes:  # in topological order
        if node.op_type != "Conv" and reached & set(node.input):
            names.append(node.name)
            reached |= set(node.output)
    return names


class _Calibration(CalibrationDataReader):  # type: ignore[misc]
    """Gives one picture at a time: a batch would only take memory."""

    def __init__(self, pictures: Sequence[Path], contract: Contract) -> None:
        self._batches = self._read(pictures, contract)

    def get_next(self) -> dict[str, RgbBatch] | None:
        return next(self._batches, None)

    @staticmethod
    def _read(pictures: Sequence[Path], contract: Contract) -> Iterator[dict[str, RgbBatch]]:
        for path in pictures:
            yield {contract.input_name: load(path, contract.image_size)[np.newaxis]}
