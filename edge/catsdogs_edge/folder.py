"""Classifies picture files, one batch after the other."""

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from catsdogs_edge.classifier import Classifier, Prediction
from catsdogs_edge.errors import ImageError
from catsdogs_edge.image import RgbImage, load

BATCH_SIZE = 8
"""Pictures in one inference: 4 to 8 are fastest on a CPU, more only take memory."""


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
    """Decodes and resizes files on all cores, a batch at a time, in order.

    Args:
        paths: Picture files; consumed as needed, so there may be millions.
        size: Edge length in pixels.

    Yields:
        Up to `BATCH_SIZE` files, each with its pixels, uint8 RGB (size, size, 3), or with the reason why not.
    """
    remaining = iter(paths)
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        while chunk := list(islice(remaining, BATCH_SIZE)):
            yield list(zip(chunk, pool.map(lambda path: _load(path, size), chunk), strict=True))


def _load(path: Path, size: int) -> RgbImage | ImageError:
    try:
        return load(path, size)
    except ImageError as error:
        return error
