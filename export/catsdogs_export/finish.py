"""Puts into an ONNX file what makes it describe, test and vouch for itself."""

from pathlib import Path

import numpy as np
import onnx

from catsdogs_edge import integrity, selftest
from catsdogs_edge.classifier import Classifier
from catsdogs_edge.contract import Contract, Precision
from catsdogs_edge.errors import ParityError
from catsdogs_edge.providers import Provider

FP32_TOLERANCE = 1e-3
"""Largest difference of logits in the self-test of an fp32 file. Seen between ONNX Runtime without and
with optimizations, 1 and 2 threads, and OpenVINO: 6e-6. The smallest fault that it must find, bilinear for
area resizing, makes 0.6 on the pattern that is drawn for it."""

FP16_TOLERANCE = 5e-2
"""The same for fp16, whose numbers have 11 bits: seen on CPU 3e-3, where most of it runs in float32."""

INT8_STEPS = 5
"""The same for INT8, in steps of the quantized logits. Seen between ONNX Runtime with and without fused
kernels 2 steps, against OpenVINO 3; bilinear for area resizing makes 9 and more on the pattern."""


def finish(path: Path, contract: Contract) -> None:
    """Writes contract, self-test and hash into a file; nothing may change it afterwards.

    Args:
        path: An ONNX file with the graph that the contract describes.
        contract: Of this very file.
    """
    model = onnx.load(path)
    metadata = contract.to_metadata()
    onnx.helper.set_model_props(model, metadata)
    onnx.save(model, path)
    metadata |= selftest.record(Classifier.load(path, Provider.CPU), _tolerance(model, contract))
    metadata[integrity.KEY] = integrity.PLACEHOLDER
    onnx.helper.set_model_props(model, metadata)
    onnx.save(model, path)
    integrity.seal(path)


def _tolerance(model: onnx.ModelProto, contract: Contract) -> float:
    if contract.precision is Precision.FP32:
        return FP32_TOLERANCE
    if contract.precision is Precision.FP16:
        return FP16_TOLERANCE
    scales = [node.input[1] for node in model.graph.node if contract.logits_name in node.output]
    values = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    if len(scales) != 1 or scales[0] not in values:
        raise ParityError("the INT8 graph does not dequantize its logits by a constant scale")
    return INT8_STEPS * float(np.max(values[scales[0]]))
