"""Steadies what is said about a moving scene: one odd frame must not change the label."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

DEFAULT_SECONDS = 0.5
"""Time constant for cameras and videos."""

MARGIN = 0.2
"""By so much another class must lead, as averaged probability, before the label changes."""


@dataclass(frozen=True, slots=True)
class Steady:
    """The smoothed answer."""

    label: str
    """Changes only when another class leads by `MARGIN`."""
    probability: float
    """Of that label, averaged, 0 to 1."""


class Smoother:
    """Exponential average of probabilities over time, and hysteresis for the label.

    The weight of the past falls by the factor e in each time constant, whatever the frame rate: a frame that comes
    after `t` seconds has the weight 1 - exp(-t / seconds) (exponential smoothing for irregular intervals).
    """

    def __init__(self, classes: Sequence[str], seconds: float) -> None:
        """Starts without a past.

        Args:
            classes: Names, in the order of the probabilities.
            seconds: Time constant; 0 takes each frame for itself.
        """
        self._classes = tuple(classes)
        self._seconds = seconds
        self.reset()

    def reset(self) -> None:
        """Forgets the past: after a gap, what was seen before says nothing."""
        self._average: list[float] = []
        self._best = 0
        self._last = 0.0

    def add(self, probabilities: Sequence[float], now: float) -> Steady:
        """Takes in one frame.

        Args:
            probabilities: One for each class; they add up to 1.
            now: Seconds on any clock that does not run backwards.
        """
        if self._average and self._seconds > 0:
            weight = 1 - math.exp(-max(now - self._last, 0.0) / self._seconds)
            self._average = [old + weight * (new - old) for old, new in zip(self._average, probabilities, strict=True)]
            leader = self._average.index(max(self._average))
            if self._average[leader] >= self._average[self._best] + MARGIN:
                self._best = leader
        else:
            self._average = list(probabilities)
            self._best = self._average.index(max(self._average))
        self._last = now
        return Steady(self._classes[self._best], self._average[self._best])
