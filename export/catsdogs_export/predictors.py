"""Keras networks and ONNX graphs behind one interface, so that they can be compared."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import keras
import numpy as np
import onnxruntime as ort

from catsdogs_edge.images.decode import RgbBatch, load_batch
from catsdogs_edge.model.classifier import Classifier
from catsdogs_edge.model.contract import Contract
from catsdogs_edge.model.scores import Outputs, softmax
from catsdogs_export.run_folder import LabelledImage

_BATCH_SIZE = 8


class Predictor(Protocol):
    """A model that knows its contract; `catsdogs_edge.model.classifier.Classifier` is one."""

    contract: Contract

    def predict(self, batch: RgbBatch) -> Outputs:
        """Asks the model about uint8 RGB images, shape (N, S, S, 3)."""


class KerasPredictor:
    """A Keras network with one output, logits, or two, logits and familiarity."""

    def __init__(self, network: keras.Model, contract: Contract) -> None:
        self.contract = contract
        self._network = network

    def predict(self, batch: RgbBatch) -> Outputs:
        """Asks the network about uint8 RGB images, shape (N, S, S, 3)."""
        outputs = self._network(batch, training=False)
        every = outputs if len(self._network.outputs) > 1 else [outputs]
        logits, *scores = (np.asarray(output, np.float32) for output in every)
        return Outputs(logits, softmax(logits, self.contract.temperature), scores[0] if scores else None)


def open_graph(model: Path | bytes, contract: Contract, *, optimized: bool = True) -> Classifier:
    """Opens an ONNX graph, a file or its content, on the CPU; it need have no contract inside yet.

    `optimized` lets ONNX Runtime fuse nodes; without, each runs as it stands in the file.
    """
    options = ort.SessionOptions()
    if not optimized:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return Classifier(session, contract, accept_all=True)


Model_co = TypeVar("Model_co", bound=Predictor, covariant=True)


class ModelOnImages(Generic[Model_co]):
    """A model's outputs for labelled images, computed once, when they are first asked for."""

    def __init__(self, model: Model_co, images: Sequence[LabelledImage]) -> None:
        self.model = model
        self.images = images

    @cached_property
    def outputs(self) -> Outputs:
        """The outputs, in the order of the images."""
        batches = load_batches(self.images, self.model.contract.image_size)
        return Outputs.concatenate(self.model.predict(batch) for batch in batches)


def load_batches(images: Sequence[LabelledImage], size: int) -> Iterator[RgbBatch]:
    """Yields the images as batches of uint8 RGB, shape (N, size, size, 3), read by the edge's own decoder."""
    for start in range(0, len(images), _BATCH_SIZE):
        yield load_batch([image.path for image in images[start : start + _BATCH_SIZE]], size)
