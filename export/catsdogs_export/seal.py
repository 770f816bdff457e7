"""Puts into an ONNX file what makes it describe, test and vouch for itself."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx

from catsdogs_edge.errors import ParityError
from catsdogs_edge.images.decode import decode, resize
from catsdogs_edge.model import integrity, selftest
from catsdogs_edge.model.classifier import Classifier
from catsdogs_edge.model.contract import Contract, Precision
from catsdogs_edge.runtime.providers import Provider
from catsdogs_export.predictors import open_graph

FP32_TOLERANCE = 1e-3
"""Largest difference of logits in the self-test of an fp32 file. Seen between ONNX Runtime without and with
optimizations, 1 and 2 threads, and OpenVINO: 6e-6. The smallest fault that it must find, bilinear for area resizing,
makes 0.6 on the pattern that is drawn for it."""

FP16_TOLERANCE = 5e-2
"""The same for fp16, whose numbers have 11 bits: seen on a CPU, where most of it runs in float32, 3e-3; not yet
measured on a GPU."""

INT8_STEPS = 5
"""The same for INT8, at least, in steps of the quantized logits."""

INT8_NOISE = 4
"""The same for INT8, at least, as a multiple of what this very file differs by between ONNX Runtime's fused
and unfused kernels, which round in other places. Seen: OpenVINO differs by up to 2 times as much on a good
network and 3 times on a bad one, onnxruntime-web by less; bilinear for area resizing by 8 times and more."""

FAMILIARITY_TOLERANCE = {Precision.FP32: 1e-3, Precision.FP16: 5e-2, Precision.INT8: 0.25}
"""Largest difference of familiarity, which is a sigmoid and so moves by at most a quarter of what goes into it."""


def write_sealed(
    model: onnx.ModelProto, contract: Contract, path: Path, maps: Mapping[str, str] | None = None
) -> Classifier:
    """Writes a file with contract, self-test and hash, once; nothing may change it afterwards.

    `maps` is the metadata of `class_maps.record_maps`, for a file that is to have it. Returns the file as the edge
    opens it, accepting all images. Raises `ParityError` where it fails its own test.
    """
    path.write_bytes(seal(model, contract, maps))
    classifier = Classifier.load(path, Provider.CPU, accept_all=True)
    outcome = selftest.run(classifier, path)
    if not outcome.passed:
        raise ParityError(f"{contract.precision.value} does not pass its own test where it was made: {outcome}")
    return classifier


def seal(model: onnx.ModelProto, contract: Contract, maps: Mapping[str, str] | None = None) -> bytes:
    """Returns the content of a file with contract, self-test and hash; see `write_sealed`."""
    metadata = contract.to_metadata() | dict(maps or {})
    onnx.helper.set_model_props(model, metadata)
    data = model.SerializeToString()
    tolerance = _tolerance(data, model, contract)
    metadata |= selftest.record(open_graph(data, contract), tolerance, FAMILIARITY_TOLERANCE[contract.precision])
    metadata[integrity.SEAL_KEY] = integrity.PLACEHOLDER
    onnx.helper.set_model_props(model, metadata)
    return integrity.seal(model.SerializeToString())


def _tolerance(data: bytes, model: onnx.ModelProto, contract: Contract) -> float:
    if contract.precision is Precision.FP32:
        return FP32_TOLERANCE
    if contract.precision is Precision.FP16:
        return FP16_TOLERANCE
    scales = [node.input[1] for node in model.graph.node if contract.logits_name in node.output]
    values = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    if len(scales) != 1 or scales[0] not in values:
        raise ParityError("the INT8 graph does not dequantize its logits by a constant scale")
    step = float(np.max(values[scales[0]]))
    return max(INT8_STEPS * step, INT8_NOISE * _kernel_noise(data, contract))


def _kernel_noise(data: bytes, contract: Contract) -> float:
    """Measures the largest difference of logits between fused and unfused kernels on the self-test's images."""
    images = np.stack([resize(decode(probe), contract.image_size) for probe in selftest.draw_probes().values()])
    fused, unfused = (open_graph(data, contract, optimized=optimized).predict(images) for optimized in (True, False))
    return float(np.abs(fused.logits - unfused.logits).max())
