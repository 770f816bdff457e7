"""Which of Keras' backends we train on."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from catsdogs_edge.errors import DataError

BACKENDS = ("tensorflow", "jax")
"""The Keras backends that are tested."""


def set_up_keras(seed: int) -> None:
    """Seeds Keras, NumPy and Python, and sets what the user's `keras.json` may have changed.

    Networks are channels last and float32 here.
    """
    import keras  # noqa: PLC0415 - after `choose_backend`

    with _tensorflow_missing(keras.backend.backend() != "tensorflow"):
        keras.utils.set_random_seed(seed)
    keras.config.set_image_data_format("channels_last")
    keras.config.set_floatx("float32")


@contextmanager
def _tensorflow_missing(is_hidden: bool) -> Iterator[None]:
    """Hides TensorFlow from Keras, which else imports it in four seconds to seed it, on any backend.

    Keras remembers that it found none: so it imports none to save a model, either.
    """
    if not is_hidden or "tensorflow" in sys.modules:
        yield
        return
    sys.modules["tensorflow"] = None  # type: ignore[assignment] # Python's mark of what cannot be imported
    try:
        yield
    finally:
        del sys.modules["tensorflow"]


def choose_backend() -> None:
    """Chooses the backend before Keras is imported: what `KERAS_BACKEND` names, or TensorFlow, or JAX if that is there.

    Raises:
        DataError: `KERAS_BACKEND` names one that we do not know, or that is not installed.
        ModuleNotFoundError: Keras, or every backend, is missing; the command says which extra brings it.
    """
    named = os.environ.get("KERAS_BACKEND")
    wanted = named or next(filter(find_spec, BACKENDS), BACKENDS[0])
    if wanted not in BACKENDS:
        raise DataError(f"KERAS_BACKEND is {wanted!r}: expected {' or '.join(BACKENDS)}")
    for module in ("keras", *([] if named else [wanted])):
        if find_spec(module) is None:
            raise ModuleNotFoundError(name=module)
    if find_spec(wanted) is None:
        raise DataError(f"KERAS_BACKEND is {wanted}, which is not installed: pip install {wanted}")
    os.environ["KERAS_BACKEND"] = wanted  # else Keras looks into its own file of settings, too
