"""Makes a network as sure as it is right."""

import numpy as np
from scipy.optimize import minimize_scalar

from catsdogs_edge.evaluation.metrics import Labels, log_loss
from catsdogs_edge.model.scores import Scores, softmax

_RANGE = (0.05, 20.0)


def fit_temperature(logits: Scores, truth: Labels) -> float:
    """Finds what to divide logits (N, C) by before the softmax, so that images not learned from surprise least.

    Guo et al., "On Calibration of Modern Neural Networks", 2017: the temperature with the smallest log loss. It changes
    no label. It is above 1 for a network that is too sure, and 1 where no answer is wrong: there, the lower the better,
    without end.
    """
    if np.all(logits.argmax(axis=1) == truth):
        return 1.0
    low, high = np.log(_RANGE)
    found = minimize_scalar(
        lambda power: log_loss(softmax(logits / np.float32(np.exp(power))), truth), bounds=(low, high), method="bounded"
    )
    return float(np.exp(found.x))
