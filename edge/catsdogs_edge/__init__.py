"""Runs catsdogs models with ONNX Runtime and OpenCV; needs neither TensorFlow nor Keras.

Example:
    >>> from catsdogs_edge import Classifier, classify_stream
    >>> print(Classifier.load().classify("image.jpg"))
    cat 99.8%
    >>> for result in classify_stream(0):
    ...     print(result.label, result.frame.state)
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from catsdogs_edge.cluster.batch_classifier import BatchClassifier
    from catsdogs_edge.errors import CatsDogsError
    from catsdogs_edge.images.decode import decode, read
    from catsdogs_edge.model.classifier import Classifier
    from catsdogs_edge.model.contract import Contract
    from catsdogs_edge.model.prediction import Prediction
    from catsdogs_edge.runtime.providers import Provider
    from catsdogs_edge.stream.frame_result import FrameResult
    from catsdogs_edge.stream.pipeline import classify_stream

    __version__: str

__all__ = [
    "BatchClassifier", "CatsDogsError", "Classifier", "Contract", "FrameResult", "Prediction", "Provider",
    "__version__", "classify_stream", "decode", "read",
]  # fmt: skip

# OpenCV reads this once, when it is first imported: an image that says it is larger (400 MB of pixels) is a bomb.
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(2**27))

_MODULES = {
    "BatchClassifier": "cluster.batch_classifier",
    "CatsDogsError": "errors",
    "Classifier": "model.classifier",
    "Contract": "model.contract",
    "FrameResult": "stream.frame_result",
    "Prediction": "model.prediction",
    "Provider": "runtime.providers",
    "classify_stream": "stream.pipeline",
    "decode": "images.decode",
    "read": "images.decode",
}


def __getattr__(name: str) -> Any:
    """Imports a public name when it is first used: OpenCV and ONNX Runtime take a quarter of a second."""
    if name == "__version__":
        return import_module("importlib.metadata").version("catsdogs")
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
