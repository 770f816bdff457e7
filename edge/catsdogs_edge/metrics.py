"""Figures about answers: accuracy with its uncertainty, calibration, loss. Shapes: scores (N, C), truth (N,)."""

import math

import numpy as np
from numpy.typing import NDArray

from catsdogs_edge.scores import Scores

Labels = NDArray[np.int64]
"""Class indices, shape (N,)."""

_Z = 1.959964  # 97.5 % quantile of the normal distribution: intervals of 95 %


def accuracy_interval(hits: int, count: int) -> tuple[float, float]:
    """Gives the 95 % interval of a share (Wilson, 1927).

    Args:
        hits: Right answers.
        count: All answers, at least one.
    """
    share = hits / count
    spread = _Z**2 / count
    centre = (share + spread / 2) / (1 + spread)
    half = _Z / (1 + spread) * math.sqrt(share * (1 - share) / count + spread / (4 * count))
    return centre - half, centre + half


def drop_interval(lost: int, won: int, count: int) -> tuple[float, float]:
    """Gives the 95 % interval of the difference of two accuracies on the same pictures.

    Agresti and Min, "Simple improved confidence intervals for comparing matched proportions", 2005.

    Args:
        lost: Pictures that only the first model gets right.
        won: Pictures that only the second one gets right.
        count: All pictures.
    """
    total = count + 2
    difference = (lost - won) / total
    variance = (lost + won + 1) / total - difference**2
    half = _Z * math.sqrt(variance / total)
    return difference - half, difference + half


def confusion_matrix(truth: Labels, labels: Labels, classes: int) -> NDArray[np.int64]:
    """Counts answers; rows are the true classes, columns the answers, shape (C, C)."""
    matrix = np.zeros((classes, classes), np.int64)
    np.add.at(matrix, (truth, labels), 1)
    return matrix


def log_loss(probabilities: Scores, truth: Labels) -> float:
    """Gives the mean negative log-likelihood of the true class, in nats."""
    smallest = np.finfo(np.float32).tiny  # an answer of exactly 0 must not make the mean infinite
    return float(-np.log(np.maximum(probabilities[np.arange(len(truth)), truth], smallest)).mean())


def reliability(
    probabilities: Scores, truth: Labels, bins: int = 15
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Sorts answers by how sure they are.

    Args:
        probabilities: Shape (N, C).
        truth: Shape (N,).
        bins: Of equal width between 0 and 1.

    Returns:
        For each bin the mean confidence, the share of right answers (0 where there is none), the count.
    """
    confidence = probabilities.max(axis=1).astype(np.float64)
    right = probabilities.argmax(axis=1) == truth
    places = np.minimum((confidence * bins).astype(np.int64), bins - 1)
    counts = np.bincount(places, minlength=bins)
    divisor = np.maximum(counts, 1)
    return (
        np.bincount(places, confidence, bins) / divisor,
        np.bincount(places, right, bins) / divisor,
        counts,
    )


def auroc(familiar: Scores, unfamiliar: Scores) -> float:
    """Gives the area under the ROC curve: how often one of the first is above one of the second; ties count half.

    Mann and Whitney, "On a Test of Whether one of Two Random Variables is Stochastically Larger than the Other", 1947.

    Args:
        familiar: Shape (N,), at least one.
        unfamiliar: Shape (M,), likewise.
    """
    ordered = np.sort(unfamiliar)
    below, up_to = np.searchsorted(ordered, familiar, "left"), np.searchsorted(ordered, familiar, "right")
    return float((below + up_to).mean() / (2 * len(ordered)))


def calibration_error(probabilities: Scores, truth: Labels, bins: int = 15) -> float:
    """Gives the expected calibration error, 0 to 1 (Guo et al., "On Calibration of Modern Neural Networks", 2017)."""
    confidence, accuracy, counts = reliability(probabilities, truth, bins)
    return float((np.abs(confidence - accuracy) * counts).sum() / counts.sum())
