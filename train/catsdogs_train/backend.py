"""Which of Keras' backends we train on."""

import os
from importlib.util import find_spec

from catsdogs_edge.errors import DataError

BACKENDS = ("tensorflow", "jax")
"""That we test."""


def check_backend() -> None:
    """Looks, before Keras is imported, whether it will find the backend that the user wants.

    Raises:
        DataError: `KERAS_BACKEND` names one that we do not know, or that is not installed.
    """
    wanted = os.environ.get("KERAS_BACKEND", BACKENDS[0])
    if wanted not in BACKENDS:
        raise DataError(f"KERAS_BACKEND is {wanted!r}: expected {' or '.join(BACKENDS)}")
    if find_spec(wanted) is None:
        raise DataError(f"KERAS_BACKEND is {wanted}, which is not installed: pip install {wanted}")
