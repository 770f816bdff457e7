"""A classifier that travels: Ray, Beam or Spark send it to their workers, and each opens the model when it needs it."""

import hashlib
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2

from catsdogs_edge.classify.batching import classify_all
from catsdogs_edge.errors import ImageError
from catsdogs_edge.images.decode import RgbImage, load_bytes
from catsdogs_edge.model.bundled import MODEL
from catsdogs_edge.model.classifier import Classifier
from catsdogs_edge.model.prediction import prediction_columns, prediction_fields
from catsdogs_edge.runtime.providers import Provider


class BatchClassifier:
    """Classifies encoded images in whatever process it is sent to.

    It can be pickled: it carries the model file's bytes, so that a worker on another machine needs no file, and no
    session, which cannot travel.

    Args:
        model: An ONNX file that `catsdogs-export` wrote; else the one that comes with catsdogs.
        provider: Where to run it.
        threads: Cores to work on; each decodes and runs the model on a few images at a time.
        accept_all: Never answer "neither".

    Raises:
        ModelError: The file is missing, broken, or not one of ours: said here, and not by each worker.
        ProviderError: A named provider does not run here.
    """

    def __init__(
        self,
        model: str | Path = MODEL,
        provider: Provider = Provider.CPU,
        *,
        threads: int = 1,
        accept_all: bool = False,
    ) -> None:
        self.threads = threads
        self._provider = provider
        self._accept_all = accept_all
        self._classifier: Classifier | None = self._load(Path(model))
        self._data = Path(model).read_bytes()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_classifier": None}

    @property
    def classifier(self) -> Classifier:
        """The open model; opened here if it is not yet."""
        if self._classifier is None:
            with tempfile.TemporaryDirectory(prefix="catsdogs-") as folder:
                path = Path(folder, "model.onnx")
                path.write_bytes(self._data)
                self._classifier = self._load(path)
        return self._classifier

    @property
    def columns(self) -> list[str]:
        """The names of what a row holds, in order."""
        return [*prediction_columns(self.classifier.contract.classes), "error"]

    @property
    def model_sha256(self) -> str:
        """The model file's SHA-256, in hexadecimal."""
        return hashlib.sha256(self._data).hexdigest()

    def classify_bytes(self, images: Sequence[bytes | ImageError | None]) -> list[dict[str, Any]]:
        """Classifies encoded images; none of them makes it raise, but see `Classifier.predict`.

        An image is a whole file (JPEG, PNG, ...), or why it could not be read; None, such as a null in a table, is a
        row with an error, too. Returns a row for each, in order, with the fields of `columns`; None for what is not
        known.
        """
        classes = self.classifier.contract.classes
        rows = []
        for row in classify_all(self.classifier, images, _load, workers=self.threads):
            fields = {**prediction_fields(row.prediction, classes), "error": row.error or None}
            fields |= fields.pop("probabilities") or dict.fromkeys(classes)
            rows.append({name: fields[name] for name in self.columns})
        return rows

    def _load(self, path: Path) -> Classifier:
        cv2.setNumThreads(1)  # an image is decoded on one core; others have images of their own
        return Classifier.load(path, self._provider, threads=1, accept_all=self._accept_all)


def _load(image: bytes | ImageError | None, size: int) -> RgbImage:
    if image is None:
        raise ImageError("no bytes are given")
    if isinstance(image, ImageError):
        raise image
    if not isinstance(image, bytes | bytearray | memoryview):  # such as NaN, a null of pandas
        raise ImageError(f"a {type(image).__name__}, expected the bytes of an image file")
    return load_bytes(bytes(image), size)
