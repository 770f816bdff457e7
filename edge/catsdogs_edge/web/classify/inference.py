"""Classifies what requests bring: one at a time, so that the camera goes first, with a short queue before it."""

import asyncio
import contextlib
import os
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from catsdogs_edge.errors import ImageError
from catsdogs_edge.images.decode import RgbBatch, decode
from catsdogs_edge.images.heatmap import draw_heatmap
from catsdogs_edge.images.jpeg import encode_jpeg
from catsdogs_edge.model.classifier import Classifier
from catsdogs_edge.model.prediction import Prediction
from catsdogs_edge.model.scores import Outputs

QUEUE = 8
"""Requests that may wait while one is worked on."""

BATCH = 4
"""Images in one inference."""

_NICE = 5  # how far its thread steps back behind the camera's, where the system knows priorities of threads
_Result = TypeVar("_Result")


class BusyError(Exception):
    """As many requests wait as may."""


@dataclass(frozen=True, slots=True)
class ImageAnswer:
    """A prediction or an error, never both, and the size of the image in pixels."""

    prediction: Prediction | None
    error: str
    width: int = 0
    height: int = 0


class InferenceQueue:
    """Works for all requests; its thread ends with `close`."""

    def __init__(self, classifier: Classifier) -> None:
        self.classifier = classifier
        self._inside = 0
        self._pool = ThreadPoolExecutor(1, "catsdogs-answer", _step_back)

    @contextmanager
    def place(self) -> Iterator[None]:
        """Holds a place as long as the block lasts; raises `BusyError` where all are taken.

        Take it before the body of a request is read: else many large ones are in the memory together.
        """
        if self._inside > QUEUE:
            raise BusyError
        self._inside += 1
        try:
            yield
        finally:
            self._inside -= 1

    async def run(self, work: Callable[..., _Result], *arguments: object) -> _Result:
        """Does some work in the thread of inferences."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, work, *arguments)

    def classify(self, data: bytes) -> ImageAnswer:
        """Classifies an encoded image as `catsdogs-classify` classifies a file."""
        try:
            image = decode(data)
        except ImageError as error:
            return ImageAnswer(None, str(error))
        prediction = self.classifier.classify(image)
        problem = prediction.problem
        return ImageAnswer(None if problem else prediction, problem, image.shape[1], image.shape[0])

    def explain(self, data: bytes) -> bytes:
        """Returns an encoded image with what speaks for its answer in colour, as JPEG; raises `ImageError`."""
        image = decode(data)
        prediction = self.classifier.classify(image, maps=True)
        return encode_jpeg(image if prediction.map is None else draw_heatmap(image, prediction.map))

    def predict(self, batch: RgbBatch) -> Outputs:
        """Asks the model about uint8 RGB (N, S, S, 3), a few at a time."""
        size = self.classifier.fixed_batch or BATCH
        return Outputs.concatenate(
            self.classifier.predict(batch[start : start + size]) for start in range(0, len(batch), size)
        )

    def close(self) -> None:
        """Ends the thread after what it is doing."""
        self._pool.shutdown(cancel_futures=True)


def _step_back() -> None:
    """Lets the camera's thread go first."""
    if sys.platform == "linux":  # elsewhere it would be the whole process
        thread = threading.get_native_id()
        with contextlib.suppress(OSError):  # where a sandbox does not allow it
            os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + _NICE)
