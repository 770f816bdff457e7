"""Figures about answers that scikit-learn does not have in this form; it is not on the edge, either."""

import math

import numpy as np
from numpy.typing import NDArray

from catsdogs_edge.model.scores import Scores

Labels = NDArray[np.int64]
"""Class indices, shape (N,)."""

_Z = 1.959964  # 97.5 % quantile of the normal distribution: intervals of 95 %


def accuracy_interval(hits: int, count: int) -> tuple[float, float]:
    """Returns the 95 % interval of the share of hits among at least one answer (Wilson, 1927)."""
    share = hits / count
    spread = _Z**2 / count
    centre = (share + spread / 2) / (1 + spread)
    half = _Z / (1 + spread) * math.sqrt(share * (1 - share) / count + spread / (4 * count))
    # The ends are exact, but for rounding
    return 0.0 if hits == 0 else centre - half, 1.0 if hits == count else centre + half


def drop_interval(lost: int, won: int, count: int) -> tuple[float, float]:
    """Returns the 95 % interval of the difference of two accuracies on the same images.

    `lost` are right by the first model alone, `won` by the second alone. Agresti and Min, "Simple improved confidence
    intervals for comparing matched proportions", 2005.
    """
    total = count + 2
    difference = (lost - won) / total
    variance = (lost + won + 1) / total - difference**2
    half = _Z * math.sqrt(variance / total)
    return max(difference - half, -1.0), min(difference + half, 1.0)


def log_loss(probabilities: Scores, truth: Labels) -> float:
    """Returns the mean negative log-likelihood of the true class, in nats."""
    smallest = np.finfo(np.float32).tiny  # an answer of exactly 0 must not make the mean infinite
    return float(-np.log(np.maximum(probabilities[np.arange(len(truth)), truth], smallest)).mean())


def reliability(
    probabilities: Scores, truth: Labels, bins: int = 15
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Sorts answers, probabilities (N, C), into bins of equal width by how sure they are.

    Returns for each bin the mean confidence, the share of right answers (0 where there is none), and the count.
    """
    confidence = probabilities.max(axis=1).astype(np.float64)
    right = probabilities.argmax(axis=1) == truth
    indices = np.minimum((confidence * bins).astype(np.int64), bins - 1)
    counts = np.bincount(indices, minlength=bins)
    divisor = np.maximum(counts, 1)
    return (np.bincount(indices, confidence, bins) / divisor, np.bincount(indices, right, bins) / divisor, counts)


def calibration_error(probabilities: Scores, truth: Labels, bins: int = 15) -> float:
    """Returns the expected calibration error, 0 to 1 (Guo et al., "On Calibration of Modern Neural Networks", 2017)."""
    confidence, accuracy, counts = reliability(probabilities, truth, bins)
    return float((np.abs(confidence - accuracy) * counts).sum() / counts.sum())
