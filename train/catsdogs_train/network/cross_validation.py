"""Asks of each training image what the others say that it is: where they are sure, its label may be wrong."""

from collections.abc import Sequence

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold

from catsdogs_edge.evaluation.metrics import Labels
from catsdogs_edge.model.scores import Scores
from catsdogs_train.network.features import Features

FOLDS = 5
"""Parts of the images, each judged by what was learned from the others."""

LEAST_GROUPS = 3
"""Groups that a class must have: with two, one burst would judge the other."""

_PENALTY = 0.03  # on the squared weights, for standardized features, beside the mean log loss


def cross_validate(features: Features, labels: Labels, groups: Sequence[int], seed: int) -> Scores:
    """Returns, for images with features (N, W), probabilities of all classes (N, C) from others than that image.

    Images of one of the `groups`, N numbers, are judged together: near copies share a wrong label. Northcutt et al.,
    "Confident Learning: Estimating Uncertainty in Dataset Labels", 2021: out-of-sample probabilities find wrong labels.
    With a class of fewer groups than `FOLDS` there are fewer folds. What nobody can judge is taken for what it is: a
    class of fewer than `LEAST_GROUPS`, or one that is in one fold alone.
    """
    present, group_of = np.unique(labels), np.asarray(groups)
    group_counts = np.zeros(labels.max() + 1, np.int64)
    group_counts[present] = [len(np.unique(group_of[labels == name])) for name in present]
    probabilities = np.eye(len(group_counts), dtype=np.float32)[labels]
    usable = np.flatnonzero(group_counts[labels] >= LEAST_GROUPS)
    if len(np.unique(labels[usable])) < 2:  # no other class to take an image for
        return probabilities
    features, labels, group_of = features[usable], labels[usable], group_of[usable]
    folds = min(FOLDS, int(group_counts[group_counts >= LEAST_GROUPS].min()))
    spread = features.std(axis=0)
    inputs = (features - features.mean(axis=0)) / (spread + 1e-3 * spread.mean() + 1e-6)
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    for others, held_out in splitter.split(inputs, labels, group_of):
        judged = held_out[np.isin(labels[held_out], labels[others])]  # nobody else knows the other classes
        if not len(judged) or len(np.unique(labels[others])) < 2:
            continue
        model = LogisticRegression(C=1 / (_PENALTY * len(others)), class_weight="balanced", max_iter=200, tol=1e-3)
        model.fit(inputs[others], labels[others])
        probabilities[usable[judged]] = 0.0
        probabilities[np.ix_(usable[judged], model.classes_)] = model.predict_proba(inputs[judged])
    return probabilities
