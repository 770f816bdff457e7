"""Steadies what is said about a moving scene: one odd frame must not change the label."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from catsdogs_edge.contract import NEITHER
from catsdogs_edge.decision import Prediction

DEFAULT_SECONDS = 0.5
"""Time constant for cameras and videos."""

MARGIN = 0.2
"""By so much another answer must lead, as averaged probability, before the label changes."""


@dataclass(frozen=True, slots=True)
class Steady:
    """The smoothed answer."""

    label: str
    """Changes only when another one leads by `MARGIN`."""
    probability: float
    """Of that label, averaged, 0 to 1."""


class Smoother:
    """Averages over time, with hysteresis: first whether it is one of the classes at all, then which.

    Frames that show neither say nothing about which, so they do not count there; and once the steady answer is
    `NEITHER`, what was seen before is forgotten.
    """

    def __init__(self, classes: Sequence[str], seconds: float, threshold: float | None = None) -> None:
        """Starts without a past.

        Args:
            classes: Names, in the order of the probabilities.
            seconds: Time constant; 0 takes each frame for itself.
            threshold: Least familiarity of what is not `NEITHER`; None: that is never the answer.
        """
        self._classes = tuple(classes)
        self._threshold = threshold
        self._familiar, self._which = _Vote(seconds), _Vote(seconds)

    def reset(self) -> None:
        """Forgets the past: after a gap, what was seen before says nothing."""
        self._familiar.reset()
        self._which.reset()

    def add(self, prediction: Prediction, now: float) -> Steady:
        """Takes in one frame.

        Args:
            prediction: Of the frame.
            now: Seconds on any clock that does not run backwards.
        """
        familiarity, threshold = prediction.familiarity, self._threshold
        if familiarity is not None and threshold is not None:
            # Where both are even, familiarity is at the threshold.
            is_neither = self._familiar.add([familiarity - threshold, threshold - familiarity], now) == 1
            if is_neither:
                self._which.reset()
                return Steady(NEITHER, 1 - threshold + self._familiar.average[1])
            if familiarity < threshold and self._which.average:
                return self._steady()
        self._which.add(prediction.probabilities, now)
        return self._steady()

    def _steady(self) -> Steady:
        return Steady(self._classes[self._which.best], self._which.average[self._which.best])


class _Vote:
    """Exponential average of values over time, and the one that leads, with hysteresis.

    The weight of the past falls by the factor e in each time constant, whatever the frame rate: a frame that comes
    after `t` seconds has the weight 1 - exp(-t / seconds) (exponential smoothing for irregular intervals).

    Attributes:
        average: Of each value; empty without a past.
        best: Index of the leader; another takes over when it leads by `MARGIN`.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.reset()

    def reset(self) -> None:
        self.average: list[float] = []
        self.best = 0
        self._last = 0.0

    def add(self, values: Sequence[float], now: float) -> int:
        """Takes in one frame; gives the index of the leader."""
        if self.average and self._seconds > 0:
            weight = 1 - math.exp(-max(now - self._last, 0.0) / self._seconds)
            self.average = [old + weight * (new - old) for old, new in zip(self.average, values, strict=True)]
            leader = self.average.index(max(self.average))
            if self.average[leader] >= self.average[self.best] + MARGIN:
                self.best = leader
        else:
            self.average = list(values)
            self.best = self.average.index(max(self.average))
        self._last = now
        return self.best
