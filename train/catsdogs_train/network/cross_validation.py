"""Asks of each training image what the others say that it is: where they are sure, its label may be wrong."""

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold

from catsdogs_edge.evaluation.metrics import Labels
from catsdogs_edge.model.scores import Scores
from catsdogs_train.network.features import Features

FOLDS = 5
"""Parts of the images, each judged by what was learned from the others."""

_PENALTY = 0.03  # on the squared weights, for standardized features, beside the mean log loss


def cross_validate(features: Features, labels: Labels, seed: int) -> Scores:
    """Returns, for images with features (N, W), probabilities of all classes (N, C) from others than that image.

    Northcutt et al., "Confident Learning: Estimating Uncertainty in Dataset Labels", 2021: out-of-sample
    probabilities find wrong labels. With a class of fewer images than `FOLDS` there are fewer folds; the only image of
    a class is taken for what it is.
    """
    counts = np.bincount(labels)
    probabilities = np.zeros((len(labels), len(counts)), np.float32)
    probabilities[np.arange(len(labels)), labels] = 1.0
    several = np.flatnonzero(counts[labels] > 1)
    if len(np.unique(labels[several])) < 2:  # no other class to take an image for
        return probabilities
    features, labels = features[several], labels[several]
    folds = min(FOLDS, int(counts[counts > 1].min()))
    spread = features.std(axis=0)
    inputs = (features - features.mean(axis=0)) / (spread + 1e-3 * spread.mean() + 1e-6)
    for rest, judged in StratifiedKFold(folds, shuffle=True, random_state=seed).split(inputs, labels):
        model = LogisticRegression(C=1 / (_PENALTY * len(rest)), class_weight="balanced", max_iter=200, tol=1e-3)
        model.fit(inputs[rest], labels[rest])
        probabilities[np.ix_(several[judged], model.classes_)] = model.predict_proba(inputs[judged])
    return probabilities
