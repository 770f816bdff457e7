"""Turns models into functions from pixels to logits, so that they can be compared."""

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import onnxruntime as ort

from catsdogs_edge.contract import Contract
from catsdogs_edge.image import RgbBatch
from catsdogs_edge.scores import Scores

Model = Callable[[RgbBatch], Scores]
"""From uint8 RGB (N, S, S, 3) to logits (N, C)."""


def keras_model(network: keras.Model) -> Model:
    """Wraps a Keras network."""

    def logits(batch: RgbBatch) -> Scores:
        return np.asarray(network(batch, training=False), np.float32)

    return logits


def onnx_model(model: Path | bytes, contract: Contract, *, optimized: bool = True) -> Model:
    """Opens an ONNX graph on the CPU; it need have no contract inside yet.

    Args:
        model: A file, or its content.
        contract: Names its input and output.
        optimized: Let ONNX Runtime fuse nodes; without, each runs as it stands in the file.
    """
    options = ort.SessionOptions()
    if not optimized:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def logits(batch: RgbBatch) -> Scores:
        (result,) = session.run([contract.logits_name], {contract.input_name: batch})
        return np.asarray(result, np.float32)

    return logits
