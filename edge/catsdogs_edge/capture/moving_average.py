"""One exponential moving average, for rates, intervals and probabilities."""

import math
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

Value = TypeVar("Value", float, NDArray[np.float64])


class MovingAverage(Generic[Value]):
    """An exponential moving average.

    Attributes:
        value: The average; None before the first value.
    """

    def __init__(self) -> None:
        self.value: Value | None = None

    def add(self, new: Value, weight: float) -> Value:
        """Takes in a value with a weight, 0 to 1, beside the past, and returns the average."""
        self.value = new if self.value is None or weight >= 1 else self.value + weight * (new - self.value)
        return self.value


def weight_after(elapsed: float, time_constant: float) -> float:
    """Returns the weight of a value that comes `elapsed` seconds after the one before.

    The weight of the past falls by the factor e in each time constant, whatever the rate (exponential smoothing for
    irregular intervals). A time constant of 0 forgets the past.
    """
    return 1 - math.exp(-max(elapsed, 0.0) / time_constant) if time_constant > 0 else 1.0
