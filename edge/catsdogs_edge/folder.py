"""Classifies picture files: decodes ahead on all cores while the model works on the batch before."""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from catsdogs_edge.classifier import Classifier
from catsdogs_edge.cpu import usable_cpus
from catsdogs_edge.decision import Prediction
from catsdogs_edge.errors import ImageError
from catsdogs_edge.image import RgbImage, load

BATCH_SIZE = 8
"""Pictures in one inference: 4 to 8 are fastest on a CPU, more only take memory."""

BATCHES_AHEAD = 2
"""Batches that are decoded ahead: resized pictures, 1.2 MB each batch."""


@dataclass(frozen=True, slots=True)
class Row:
    """The outcome for one file: a prediction or an error, never both."""

    path: Path
    """As it was given or found."""
    prediction: Prediction | None
    """None where there is an error."""
    error: str
    """Why the file could not be classified; empty where it was."""


def classify_files(classifier: Classifier, paths: Iterable[Path]) -> Iterator[Row]:
    """Classifies files one batch after the other, in order.

    A file that cannot be decoded becomes a row with its error; the rest goes on.

    Args:
        classifier: The model.
        paths: Picture files; consumed as needed, so there may be millions.
    """
    for chunk in load_files(paths, classifier.contract.image_size):
        predictions = iter(classifier.classify([item for _, item in chunk if not isinstance(item, ImageError)]))
        for path, item in chunk:
            if isinstance(item, ImageError):
                yield Row(path, None, str(item))
            else:
                yield Row(path, next(predictions), "")


def load_files(paths: Iterable[Path], size: int) -> Iterator[list[tuple[Path, RgbImage | ImageError]]]:
    """Decodes and resizes files on all cores, a batch at a time and `BATCHES_AHEAD` of them ahead, in order.

    Args:
        paths: Picture files; consumed as needed, so there may be millions.
        size: Edge length in pixels.

    Yields:
        Up to `BATCH_SIZE` files, each with its pixels, uint8 RGB (size, size, 3), or with the reason why not.
    """
    remaining = iter(paths)
    ahead: deque[list[tuple[Path, Future[RgbImage | ImageError]]]] = deque()
    pool = ThreadPoolExecutor(max_workers=usable_cpus())
    try:
        while True:
            while len(ahead) <= BATCHES_AHEAD and (chunk := list(islice(remaining, BATCH_SIZE))):
                ahead.append([(path, pool.submit(_load, path, size)) for path in chunk])
            if not ahead:
                return
            yield [(path, future.result()) for path, future in ahead.popleft()]
    finally:
        pool.shutdown(cancel_futures=True)


def _load(path: Path, size: int) -> RgbImage | ImageError:
    try:
        return load(path, size)
    except ImageError as error:
        return error
