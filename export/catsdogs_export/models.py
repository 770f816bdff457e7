"""Turns models into functions from pixels to answers, so that they can be compared."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import onnxruntime as ort

from catsdogs_edge.contract import Contract
from catsdogs_edge.image import RgbBatch
from catsdogs_edge.scores import Scores


@dataclass(frozen=True, slots=True)
class Answers:
    """What a model gives for pictures."""

    logits: Scores
    """Shape (N, C)."""
    familiarity: Scores | None
    """Shape (N,), 0 to 1; None if the model does not say."""

    @classmethod
    def join(cls, parts: Iterable["Answers"]) -> "Answers":
        """Puts those for several batches, at least one, together."""
        every = list(parts)
        familiarity = [part.familiarity for part in every if part.familiarity is not None]
        return cls(
            np.concatenate([part.logits for part in every]), np.concatenate(familiarity) if familiarity else None
        )


Model = Callable[[RgbBatch], Answers]
"""From uint8 RGB (N, S, S, 3)."""


def keras_model(network: keras.Model) -> Model:
    """Wraps a Keras network with one output, logits, or two, logits and familiarity."""

    def answer(batch: RgbBatch) -> Answers:
        outputs = network(batch, training=False)
        logits, *familiarity = outputs if len(network.outputs) > 1 else [outputs]
        return Answers(np.asarray(logits, np.float32), np.asarray(familiarity[0], np.float32) if familiarity else None)

    return answer


def onnx_model(model: Path | bytes, contract: Contract, *, optimized: bool = True) -> Model:
    """Opens an ONNX graph on the CPU; it need have no contract inside yet.

    Args:
        model: A file, or its content.
        contract: Names its input and outputs.
        optimized: Let ONNX Runtime fuse nodes; without, each runs as it stands in the file.
    """
    options = ort.SessionOptions()
    if not optimized:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    wanted = [name for name in contract.outputs if name != contract.probabilities_name]

    def answer(batch: RgbBatch) -> Answers:
        logits, *familiarity = session.run(wanted, {contract.input_name: batch})
        return Answers(np.asarray(logits, np.float32), np.asarray(familiarity[0], np.float32) if familiarity else None)

    return answer
