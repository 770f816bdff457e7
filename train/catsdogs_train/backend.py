"""Which of Keras' backends we train on."""

import os
from importlib.util import find_spec

from catsdogs_edge.errors import DataError

BACKENDS = ("tensorflow", "jax")
"""The Keras backends that are tested."""


def use_own_settings() -> None:
    """Sets what the user's `keras.json` may have changed: networks are channels last and float32 here."""
    import keras  # noqa: PLC0415 - after `choose_backend`

    keras.config.set_image_data_format("channels_last")
    keras.config.set_floatx("float32")


def choose_backend() -> None:
    """Sets the backend that `KERAS_BACKEND` names, or TensorFlow, before Keras is imported; raises `DataError`."""
    wanted = os.environ.get("KERAS_BACKEND") or BACKENDS[0]
    if wanted not in BACKENDS:
        raise DataError(f"KERAS_BACKEND is {wanted!r}: expected {' or '.join(BACKENDS)}")
    for module in ("keras", *([] if os.environ.get("KERAS_BACKEND") else [wanted])):
        if find_spec(module) is None:
            raise ModuleNotFoundError(name=module)  # the command says which extra brings it
    if find_spec(wanted) is None:
        raise DataError(f"KERAS_BACKEND is {wanted}, which is not installed: pip install {wanted}")
    os.environ["KERAS_BACKEND"] = wanted  # else Keras looks into its own file of settings, too
