"""Puts into an ONNX file what makes it describe, test and vouch for itself."""

from pathlib import Path

import numpy as np
import onnx

from catsdogs_edge import integrity, selftest
from catsdogs_edge.classifier import Classifier
from catsdogs_edge.contract import Contract, Precision
from catsdogs_edge.errors import ParityError
from catsdogs_edge.image import decode, resize
from catsdogs_edge.providers import Provider
from catsdogs_export.models import onnx_model

FP32_TOLERANCE = 1e-3
"""Largest difference of logits in the self-test of an fp32 file. Seen between ONNX Runtime without and
with optimizations, 1 and 2 threads, and OpenVINO: 6e-6. The smallest fault that it must find, bilinear for
area resizing, makes 0.6 on the pattern that is drawn for it."""

FP16_TOLERANCE = 5e-2
"""The same for fp16, whose numbers have 11 bits: seen on a CPU, where most of it runs in
float32, 3e-3; not yet measured on a GPU."""

INT8_STEPS = 5
"""The same for INT8, at least, in steps of the quantized logits."""

INT8_NOISE = 4
"""The same for INT8, at least, as a multiple of what this very file differs by between ONNX Runtime's fused
and unfused kernels, which round in other places. Seen: OpenVINO differs by up to 2 times as much on a good
network and 3 times on a bad one, onnxruntime-web by less; bilinear for area resizing by 8 times and more."""

FAMILIARITY_TOLERANCE = {Precision.FP32: 1e-3, Precision.FP16: 5e-2, Precision.INT8: 0.25}
"""Largest difference of familiarity, which is a sigmoid and so moves by at most a quarter of what goes into it."""


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
    tolerance = _tolerance(path, model, contract)
    familiarity_tolerance = FAMILIARITY_TOLERANCE[contract.precision]
    metadata |= selftest.record(Classifier.load(path, Provider.CPU), tolerance, familiarity_tolerance)
    metadata[integrity.KEY] = integrity.PLACEHOLDER
    onnx.helper.set_model_props(model, metadata)
    onnx.save(model, path)
    integrity.seal(path)
    outcome = selftest.run(Classifier.load(path, Provider.CPU), path)
    if not outcome.passed:
        raise ParityError(f"{contract.precision.value} does not pass its own test where it was made: {outcome}")


def _tolerance(path: Path, model: onnx.ModelProto, contract: Contract) -> float:
    if contract.precision is Precision.FP32:
        return FP32_TOLERANCE
    if contract.precision is Precision.FP16:
        return FP16_TOLERANCE
    scales = [node.input[1] for node in model.graph.node if contract.logits_name in node.output]
    values = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    if len(scales) != 1 or scales[0] not in values:
        raise ParityError("the INT8 graph does not dequantize its logits by a constant scale")
    step = float(np.max(values[scales[0]]))
    return max(INT8_STEPS * step, INT8_NOISE * _kernel_noise(path, contract))


def _kernel_noise(path: Path, contract: Contract) -> float:
    """Measures the largest difference of logits between fused and unfused kernels on the self-test's pictures."""
    pictures = np.stack([resize(decode(data), contract.image_size) for data in selftest.draw_probes().values()])
    fused, unfused = (onnx_model(path, contract, optimized=optimized)(pictures).logits for optimized in (True, False))
    return float(np.abs(fused - unfused).max())
