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
    size = classifier.contract.image_size
    remaining = iter(paths)
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        while chunk := list(islice(remaining, BATCH_SIZE)):
            loaded = list(pool.map(lambda path: _load(path, size), chunk))
            predictions = iter(classifier.classify([item for item in loaded if not isinstance(item, ImageError)]))
            for path, item in zip(chunk, loaded, strict=True):
                if isinstance(item, ImageError):
                    yield Row(path, None, str(item))
                else:
                    yield Row(path, next(predictions), "")


def _load(path: Path, size: int) -> RgbImage | ImageError:
    try:
        return load(path, size)
    except ImageError as error:
        return error
