"""Steadies what is said about a moving scene: one odd frame must not change the label."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from catsdogs_edge.capture.moving_average import MovingAverage, weight_after
from catsdogs_edge.model.contract import NEITHER
from catsdogs_edge.model.prediction import Prediction

MARGIN = 0.2
"""Lead in averaged probability that another class needs before the label changes.

For `NEITHER`, averaged familiarity must be beyond its threshold by half of that.
"""


@dataclass(frozen=True, slots=True)
class SmoothedPrediction:
    """The smoothed answer."""

    label: str
    """It changes only when another one leads; see `MARGIN`."""
    probability: float
    """The averaged probability of the label, 0 to 1."""


class Smoother:
    """Averages over time, with hysteresis: first whether it is one of the classes at all, then which.

    Frames that show neither say nothing about which, so they do not count there; and once the smoothed answer is
    `NEITHER`, what was seen before is forgotten.

    Args:
        classes: Names, in the order of the probabilities.
        seconds: Time constant; 0 takes each frame for itself.
        threshold: Least familiarity of what is not `NEITHER`; None: that is never the answer.
    """

    def __init__(self, classes: Sequence[str], seconds: float, threshold: float | None = None) -> None:
        self._classes = tuple(classes)
        self._threshold = threshold
        self._seconds = seconds
        self.reset()

    def reset(self) -> None:
        """Forgets the past: after a gap, what was seen before says nothing."""
        self._familiar, self._which = _Vote(self._seconds), _Vote(self._seconds)

    def add(self, prediction: Prediction, now: float) -> SmoothedPrediction:
        """Takes in the prediction for one frame, at `now` seconds on any clock that does not run backwards."""
        familiarity, threshold = prediction.familiarity, self._threshold
        if familiarity is not None and threshold is not None:
            # Where both are even, familiarity is at the threshold.
            self._familiar.add([familiarity - threshold, threshold - familiarity], now)
            if self._familiar.leader == 1:
                self._which = _Vote(self._seconds)
                return SmoothedPrediction(NEITHER, 1 - threshold + self._familiar.value)
            if familiarity < threshold and self._which.has_past:
                return SmoothedPrediction(self._classes[self._which.leader], self._which.value)
        self._which.add([*prediction.probabilities.values()], now)
        return SmoothedPrediction(self._classes[self._which.leader], self._which.value)


class _Vote:
    """The moving average of several values, and the one that leads, with hysteresis.

    Attributes:
        leader: Index of the value that leads; another takes over when it leads by `MARGIN`.
        value: The average of that value.
        has_past: Whether there was a frame before.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._average: MovingAverage[NDArray[np.float64]] = MovingAverage()
        self._last = 0.0
        self.leader, self.value, self.has_past = 0, 0.0, False

    def add(self, values: Sequence[float], now: float) -> None:
        """Takes in one frame."""
        average = self._average.add(np.array(values), weight_after(now - self._last, self._seconds))
        best = int(average.argmax())
        if not self.has_past or self._seconds <= 0 or average[best] >= average[self.leader] + MARGIN:
            self.leader = best
        self.value, self.has_past, self._last = float(average[self.leader]), True, now
