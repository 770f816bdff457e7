"""Learns what is familiar, so that pictures that show none of the classes can be told from the others."""

from dataclasses import dataclass, replace

import keras
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from catsdogs_train.features import EARLIER_STAGE, HEAD_WIDTH, LAST_STAGE, Features, make_extractor

Values = NDArray[np.float64]
"""Any shape."""

THRESHOLD = 0.5
"""Familiarity of what is barely familiar: the sigmoid of 0."""

_PENALTY = 0.1
"""Of the squared weights, for features in standard deviations, beside the mean log loss of the two sides."""

_RIDGE = 0.1
"""Share of the mean variance that is added in every direction: there are few pictures for so many directions."""


_STEEPNESS = 2.0
"""Standard deviation of the scores of validation pictures: so the sigmoid neither is flat nor jumps."""


@dataclass(frozen=True, slots=True)
class Detector:
    """Gives a score, `bias + weights @ y`.

    Without directions, y is the features of both stages; with them, `(directions @ x + offset) ** 2`, where x is those
    of the earlier stage.
    """

    method: str
    """In words, with its source in the docstring of what made it."""
    weights: Values
    """Shape (K,); K = 3072 without directions."""
    bias: float
    """Such that what is barely familiar has the score 0."""
    directions: Values | None = None
    """Shape (1024, K)."""
    offset: Values | None = None
    """Shape (K,)."""

    def score(self, features: Features) -> Values:
        """Gives the scores of pictures, shape (N,); the sigmoid of a score is the familiarity.

        Args:
            features: Shape (N, 3072).
        """
        values = np.asarray(features, np.float64)
        if self.directions is not None and self.offset is not None:
            values = (values[:, HEAD_WIDTH:] @ self.directions + self.offset) ** 2
        return np.asarray(values @ self.weights + self.bias)

    def keeping(self, share: float, features: Features) -> "Detector":
        """Moves and scales the score so that a share of these pictures has at least 0, and their deviation is 2.

        The threshold lies between two of them, away from both: what computes in float32 decides the same.

        Args:
            share: 0 to 1.
            features: Of pictures that show one of the classes and that nothing was learned from.
        """
        scores = np.sort(self.score(features))
        deviation = float(scores.std()) or max(abs(float(scores[0])), 1.0)  # of one picture
        place = np.searchsorted(scores, np.quantile(scores, 1 - share, method="lower"))
        below = scores[place - 1] if place else scores[place] - 0.1 * deviation
        threshold = float(scores[place] + below) / 2
        scale = _STEEPNESS / deviation
        return replace(self, weights=scale * self.weights, bias=scale * (self.bias - threshold))


def fit_boundary(features: Features, others: Features) -> Detector:
    """Learns to tell pictures of the classes from pictures of neither.

    Logistic regression, in which both sides count the same. That pictures of neither teach what other pictures of
    neither are like is Hendrycks et al., "Deep Anomaly Detection with Outlier Exposure", 2019.

    Args:
        features: Of training pictures, shape (N, 3072).
        others: Of pictures of neither, shape (M, 3072).
    """
    sides = [np.asarray(side, np.float64) for side in (features, others)]
    mean, spread = _standard(sides[0])
    inputs = (np.concatenate(sides) - mean) / spread
    signs = np.repeat([1.0, -1.0], [len(side) for side in sides])
    shares = np.repeat([0.5 / len(side) for side in sides], [len(side) for side in sides])

    def loss(values: Values) -> tuple[float, Values]:
        weights, bias = values[:-1], values[-1]
        margins = signs * (inputs @ weights + bias)
        slope = -shares * signs * np.exp(-np.logaddexp(0, margins))
        total = shares @ np.logaddexp(0, -margins) + _PENALTY / 2 * weights @ weights
        return float(total), np.append(inputs.T @ slope + _PENALTY * weights, slope.sum())

    found = minimize(loss, np.zeros(inputs.shape[1] + 1), jac=True, method="L-BFGS-B").x
    weights = found[:-1] / spread
    method = f"logistic regression on pooled {EARLIER_STAGE} and {LAST_STAGE}, with pictures of neither"
    return Detector(method, weights, float(found[-1] - mean @ weights))


def fit_distance(features: Features) -> Detector:
    """Takes for familiar what is not far from the training pictures; needs no pictures of neither.

    Mahalanobis distance on pooled features: Lee et al., "A Simple Unified Framework for Detecting Out-of-Distribution
    Samples and Adversarial Attacks", 2018; here around the mean of all classes.

    Args:
        features: Of training pictures, shape (N, 3072).
    """
    inputs = np.asarray(features[:, HEAD_WIDTH:], np.float64)
    mean = inputs.mean(axis=0)
    covariance = (inputs - mean).T @ (inputs - mean) / len(inputs)
    variances, axes = np.linalg.eigh(covariance)
    directions = axes / np.sqrt(np.maximum(variances, 0) + _RIDGE * variances.mean() + 1e-12)
    method = f"Mahalanobis distance on pooled {EARLIER_STAGE}"
    return Detector(method, np.full(len(mean), -1.0), 0.0, directions, -mean @ directions)


def attach(network: keras.Model, detector: Detector) -> keras.Model:
    """Gives the network a second output: the familiarity, float32, shape (N,), 0 to 1.

    Of Keras' own layers, so that the file opens anywhere.

    Args:
        network: From `portable`.
        detector: What to compute.

    Returns:
        A model from uint8 RGB (N, S, S, 3) to [logits (N, C), familiarity (N,)].
    """
    features, earlier = make_extractor(network).output
    logits = network.get_layer("logits")(features)
    if detector.directions is not None and detector.offset is not None:
        project = keras.layers.Dense(len(detector.offset), name="directions")
        values = project(earlier)
        project.set_weights([detector.directions, detector.offset])
        values = keras.layers.Multiply(name="squares")([values, values])
    else:
        values = keras.layers.Concatenate(name="both_stages")([features, earlier])
    score = keras.layers.Dense(1, activation="sigmoid", name="score")
    familiarity = keras.layers.Reshape((), name="familiarity")(score(values))
    score.set_weights([detector.weights[:, np.newaxis], np.array([detector.bias])])
    return keras.Model(network.input, [logits, familiarity], name=network.name)


def _standard(inputs: Values) -> tuple[Values, Values]:
    spread = inputs.std(axis=0)
    return inputs.mean(axis=0), spread + 1e-3 * spread.mean() + 1e-6
