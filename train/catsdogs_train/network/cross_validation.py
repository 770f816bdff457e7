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
    probabilities find wrong labels. A class of fewer images than folds is judged by fewer.
    """
    folds = min(FOLDS, int(np.bincount(labels).min()))
    probabilities = np.zeros((len(labels), int(labels.max()) + 1), np.float32)
    if folds < 2:
        probabilities[np.arange(len(labels)), labels] = 1.0  # nobody else can tell
        return probabilities
    spread = features.std(axis=0)
    inputs = (features - features.mean(axis=0)) / (spread + 1e-3 * spread.mean() + 1e-6)
    for rest, judged in StratifiedKFold(folds, shuffle=True, random_state=seed).split(inputs, labels):
        model = LogisticRegression(C=1 / (_PENALTY * len(rest)), class_weight="balanced", max_iter=200, tol=1e-3)
        probabilities[judged] = model.fit(inputs[rest], labels[rest]).predict_proba(inputs[judged])
    return probabilities
