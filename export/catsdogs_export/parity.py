"""Compares the models: same tensors in, how far apart are the answers?"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from catsdogs_edge.classifier import Scores
from catsdogs_edge.errors import ParityError
from catsdogs_edge.image import RgbBatch, load
from catsdogs_export.run_folder import Picture

FP32_LIMIT = 1e-3
"""Largest difference of logits between Keras and ONNX on one tensor. Both add up the same float32
numbers in another order; that has been seen to differ by 1e-5, while a wrong channel or mean differs by 0.1."""

INT8_AGREEMENT_LIMIT = 0.97
"""Least share of pictures on which INT8 and FP32 must give the same label. On photographs 0.99 and more
is usual; a broken quantization ends near 0.5. The gap to 0.97 is for few pictures and weak models."""

_BATCH_SIZE = 8

Model = Callable[[RgbBatch], Scores]
"""From uint8 RGB (N, S, S, 3) to logits (N, C)."""


@dataclass(frozen=True, slots=True)
class Fp32Parity:
    """Keras against ONNX FP32 on the same tensors."""

    tensors: int
    """How many were compared: validation pictures, and drawn extremes."""
    max_logit_difference: float
    """Largest absolute difference of two logits."""
    limit: float = FP32_LIMIT


@dataclass(frozen=True, slots=True)
class Int8Parity:
    """ONNX FP32 against INT8 on validation pictures."""

    pictures: int
    """How many were compared."""
    agreement: float
    """Share on which both give the same label, 0 to 1."""
    accuracy_fp32: float
    """Share of right labels, 0 to 1."""
    accuracy_int8: float
    """Share of right labels, 0 to 1."""
    max_logit_difference: float
    """Largest absolute difference of two logits; for the record, without a limit."""
    limit: float = INT8_AGREEMENT_LIMIT


def extremes(size: int) -> RgbBatch:
    """Gives tensors on which preprocessing mistakes show: black, white, one for each colour, noise.

    Returns:
        uint8 RGB, shape (6, size, size, 3).
    """
    batch = np.zeros((6, size, size, 3), np.uint8)
    batch[1] = 255
    for channel in range(3):
        batch[2 + channel, :, :, channel] = 255
    batch[5] = np.random.default_rng(0).integers(0, 256, (size, size, 3), np.uint8)
    return batch


def check_fp32(keras_model: Model, onnx_model: Model, pictures: Sequence[Picture], size: int) -> Fp32Parity:
    """Compares logits on the pictures and on `extremes`.

    Raises:
        ParityError: They differ by more than `FP32_LIMIT`, or one is not finite.
    """
    worst = 0.0
    count = 0
    for batch in (extremes(size), *_batches(pictures, size)):
        difference = np.abs(keras_model(batch) - onnx_model(batch)).max()
        worst = max(worst, float(difference)) if np.isfinite(difference) else float("inf")
        count += len(batch)
    if worst > FP32_LIMIT:
        raise ParityError(
            f"ONNX and Keras disagree: logits differ by up to {worst:.3g} on the same tensors, expected at most "
            f"{FP32_LIMIT:g}; nothing was written",
        )
    return Fp32Parity(count, worst)


def check_int8(fp32: Model, int8: Model, pictures: Sequence[Picture], size: int) -> Int8Parity:
    """Compares labels, and both with the true labels.

    Raises:
        ParityError: They agree on fewer than `INT8_AGREEMENT_LIMIT` of the pictures.
    """
    batches = list(_batches(pictures, size))
    logits_fp32 = np.concatenate([fp32(batch) for batch in batches])
    logits_int8 = np.concatenate([int8(batch) for batch in batches])
    labels_fp32, labels_int8 = logits_fp32.argmax(axis=1), logits_int8.argmax(axis=1)
    truth = np.array([picture.label for picture in pictures])
    parity = Int8Parity(
        len(pictures),
        _share(labels_fp32 == labels_int8),
        _share(labels_fp32 == truth),
        _share(labels_int8 == truth),
        float(np.abs(logits_fp32 - logits_int8).max()),
    )
    if parity.agreement < INT8_AGREEMENT_LIMIT:
        raise ParityError(
            f"INT8 and FP32 give the same label on {parity.agreement:.1%} of {parity.pictures} pictures, expected at "
            f"least {INT8_AGREEMENT_LIMIT:.0%}; nothing was written. Calibrate with more or other pictures "
            "(--calibrate DIR)",
        )
    return parity


def _batches(pictures: Sequence[Picture], size: int) -> Iterator[RgbBatch]:
    for start in range(0, len(pictures), _BATCH_SIZE):
        yield np.stack([load(picture.path, size) for picture in pictures[start : start + _BATCH_SIZE]])


def _share(hits: NDArray[np.bool_]) -> float:
    return float(hits.mean())
