"""Copies the values of variables out of a network and back."""

from typing import Any, TypeAlias

import keras
import numpy as np
from numpy.typing import NDArray

Arrays: TypeAlias = list[NDArray[Any]]
"""Values of variables, in the order in which Keras lists them."""


def values(variables: list[keras.Variable]) -> Arrays:
    """Copies what variables hold, whatever the backend does with its memory afterwards."""
    return [np.array(variable.numpy()) for variable in variables]


def assign(variables: list[keras.Variable], arrays: Arrays) -> None:
    """Puts values back, in the same order."""
    for variable, value in zip(variables, arrays, strict=True):
        variable.assign(value)
