"""Learns what is familiar, so that images that show none of the classes can be told from the others."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import keras
import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from catsdogs_edge.model.scores import Scores
from catsdogs_train.network.features import Features, make_extractor

Values = NDArray[np.float64]

THRESHOLD = 0.5
"""Familiarity of what is barely familiar: the sigmoid of 0."""

FEATURES_IN_WORDS = "the pooled outputs of conv4 and conv5"
"""What `Features` are, in words."""

_PENALTY = 0.1  # on the squared weights, for standardized features, beside the mean log loss of the two sides
_RIDGE = 0.1  # share of the mean variance that is added in every direction: there are more directions than images
_FOLDS = 5  # parts of the training images, each judged by what was learned from the others
_STEEPNESS = 2.0  # standard deviation of the validation scores: so the sigmoid neither is flat nor jumps


@dataclass(frozen=True, slots=True, kw_only=True)
class Detector:
    """A score, `bias + weights @ y`.

    Without directions, y is the features of both stages, and the largest logit if there is one more weight; with them,
    it is `(directions @ x + offset) ** 2`, where x is the features of the earlier stage.
    """

    method: str
    """The method in words, with its source in the docstring of what made it."""
    weights: Values
    """Shape (K,); without directions, K is the number of features, or one more."""
    bias: float
    """It gives what is barely familiar the score 0."""
    directions: Values | None = None
    """Shape (E, K)."""
    offset: Values | None = None
    """Shape (K,)."""

    def score(self, features: Features) -> Values:
        """Returns the scores, shape (N,), whose sigmoid is the familiarity, for `Features` (N, W + E).

        Where it weighs the largest logit, for those with that one (N, W + E + 1); see `OutputLayer.add_largest`.
        """
        values = np.asarray(features, np.float64)
        if self.directions is not None and self.offset is not None:
            values = (values[:, -len(self.directions) :] @ self.directions + self.offset) ** 2
        return np.asarray(values @ self.weights + self.bias)

    def with_threshold_for(self, target_recall: float, judges: Values, *others: Values) -> "Detector":
        """Moves and scales the score: a further image of the classes gets at least 0 with that probability.

        `judges` are scores, shape (N,), of images of the classes that nothing was learned from; afterwards their
        standard deviation is 2. Split conformal prediction (Vovk et al., "Algorithmic Learning in a Random World",
        2005): the threshold is below so many of the N that the promise holds for image N + 1. `others` are scores of
        other kinds of images, such as those of another camera: the lowest threshold is taken, so it holds for each.
        """
        deviation = float(judges.std()) or max(abs(float(judges.min())), 1.0)  # of one image
        threshold = min(_threshold(target_recall, kind, deviation) for kind in (judges, *others))
        scale = _STEEPNESS / deviation
        return replace(self, weights=scale * self.weights, bias=scale * (self.bias - threshold))


def _threshold(target_recall: float, values: Values, deviation: float) -> float:
    """Returns the middle between the lowest score to keep and the next lower one: rounding changes no decision."""
    scores = np.sort(values)
    rank = math.floor((len(scores) + 1) * (1 - target_recall) + 1e-9)  # of the lowest that is kept; 0: too few
    index = max(rank - 1, 0)
    lower = scores[scores < scores[index]]  # not just the one before, of which this may be a copy
    # Nothing lower: a tenth of a deviation below; a whole one where there are too few images for the promise
    below = lower[-1] if len(lower) else scores[index] - (0.1 if rank else 1.0) * deviation
    return float(scores[index] + below) / 2


@dataclass(frozen=True, slots=True, kw_only=True)
class FamiliarityFit:
    """How to tell images of the classes from others, and how well."""

    detector: Detector
    """The detector with the threshold for the target recall."""
    target_recall: float
    """Share of images of the classes that are to be kept, 0 to 1."""
    outliers: int
    """Number of images of neither that it was learned from."""
    val_scores: Values
    """Scores of the validation images, which set the threshold (few of them, with others), shape (N,); at least 0 is
    kept."""
    outlier_scores: Values
    """Scores of images of neither, shape (M,); below 0 is refused. Each is from a detector that did not learn from the
    image's fold: its folder or, with few folders, a fifth of the images. Where the backbone learned from the other
    folds, only the one that it never saw is here."""

    @property
    def refused(self) -> float | None:
        """Share of the images of neither that are refused, 0 to 1; None without any."""
        return float(np.mean(self.outlier_scores < 0)) if len(self.outlier_scores) else None


@dataclass(frozen=True, slots=True)
class OutputLayer:
    """From features to logits."""

    kernel: NDArray[np.float32]
    """Shape (W, C)."""
    bias: NDArray[np.float32]
    """Shape (C,)."""

    def logits(self, features: Features) -> Scores:
        """Returns logits (N, C) for `Features` (N, W + E), or for the first W of them."""
        return np.asarray(features[:, : len(self.kernel)] @ self.kernel + self.bias, np.float32)

    def add_largest(self, features: Features) -> Features:
        """Returns `Features` (N, W + E) with one more, the last: the largest logit, less the mean of all.

        A sum of features cannot see that two logits are near each other. That images of neither have no large logit is
        Hendrycks et al., "Scaling Out-of-Distribution Detection for Real-World Settings", 2022; less the mean, because
        only differences of logits say something.
        """
        logits = self.logits(features)
        return np.column_stack([features, logits.max(axis=1) - logits.mean(axis=1)])


def held_out_scores(fit: Callable[[Features], Detector], features: Features, groups: Sequence[int]) -> Values:
    """Returns a score for each image, shape (N,), from a detector that was fitted to others than that one.

    Images of one of the `groups`, N numbers, are held out together: near copies would tell the detector what it is
    asked about. Where there is one group alone, each image is held out for itself.
    """
    numbers = np.unique(groups, return_inverse=True)[1]
    folds = (numbers if numbers.any() else np.arange(len(features))) % _FOLDS
    scores = np.zeros(len(features))
    for fold in np.unique(folds):
        scores[folds == fold] = fit(features[folds != fold]).score(features[folds == fold])
    return scores


def fit_boundary(features: Features, outliers: Features, read: str = FEATURES_IN_WORDS) -> Detector:
    """Learns to tell features (N, F) of the classes from those (M, F) of neither; `read` says in words what they are.

    Logistic regression, in which both sides count the same. That images of neither teach what other images of
    neither are like is Hendrycks et al., "Deep Anomaly Detection with Outlier Exposure", 2019.
    """
    familiar = np.asarray(features, np.float64)
    mean, spread = familiar.mean(axis=0), familiar.std(axis=0)
    spread += 1e-3 * spread.mean() + 1e-6
    inputs = (np.concatenate([familiar, np.asarray(outliers, np.float64)]) - mean) / spread
    sides = np.repeat([1, 0], [len(features), len(outliers)])
    shares = np.repeat([0.5 / len(features), 0.5 / len(outliers)], [len(features), len(outliers)])
    model = LogisticRegression(C=1 / _PENALTY, tol=1e-6, max_iter=10_000).fit(inputs, sides, sample_weight=shares)
    weights = model.coef_[0] / spread
    method = f"logistic regression on {read}, with images of neither"
    return Detector(method=method, weights=weights, bias=float(model.intercept_[0] - mean @ weights))


def fit_distance(features: Features, head_width: int) -> Detector:
    """Takes for familiar what is not far from the training images' `Features` (N, W + E), in those of conv4 alone.

    Mahalanobis distance on pooled features: Lee et al., "A Simple Unified Framework for Detecting Out-of-Distribution
    Samples and Adversarial Attacks", 2018; here around the mean of all classes.
    """
    inputs = np.asarray(features[:, head_width:], np.float64)
    mean = inputs.mean(axis=0)
    variances, axes = np.linalg.eigh(np.cov(inputs, rowvar=False, bias=True))
    directions = axes / np.sqrt(np.maximum(variances, 0) + _RIDGE * variances.mean() + 1e-12)
    return Detector(
        method="Mahalanobis distance on the pooled output of conv4",
        weights=np.full(len(mean), -1.0),
        bias=0.0,
        directions=directions,
        offset=-mean @ directions,
    )


def attach(network: keras.Model, detector: Detector) -> keras.Model:
    """Adds a second output to the network, the familiarity: float32 (N,), 0 to 1; of Keras' own layers."""
    features, earlier = make_extractor(network).output
    logits = network.get_layer("logits")(features)
    if detector.directions is not None and detector.offset is not None:
        project = keras.layers.Dense(len(detector.offset), name="directions")
        values = project(earlier)
        project.set_weights([detector.directions, detector.offset])
        values = keras.layers.Multiply(name="squares")([values, values])
    else:
        stages = [features, earlier]
        if len(detector.weights) > sum(stage.shape[-1] for stage in stages):
            column = keras.layers.Reshape((-1, 1))(logits)
            largest, mean = keras.layers.GlobalMaxPooling1D()(column), keras.layers.GlobalAveragePooling1D()(column)
            stages.append(keras.layers.Subtract(name="largest_logit")([largest, mean]))
        values = keras.layers.Concatenate(name="both_stages")(stages)
    score = keras.layers.Dense(1, activation="sigmoid", name="score")
    familiarity = keras.layers.Reshape((), name="familiarity")(score(values))
    score.set_weights([detector.weights[:, np.newaxis], np.array([detector.bias])])
    return keras.Model(network.input, [logits, familiarity], name=network.name)
