"""Classifies picture files and folders of them."""

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from catsdogs_edge.classifier import Classifier, Prediction
from catsdogs_edge.errors import ImageError
from catsdogs_edge.image import EXTENSIONS, RgbImage, load

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


def find_pictures(paths: Iterable[Path]) -> Iterator[Path]:
    """Expands folders, in the order of the arguments and sorted inside each.

    A path that is not a folder is given back as it is, whatever its name: it was asked for by
    name. Inside a folder hidden entries and files without a picture's ending are left out, and
    links to folders are not followed (they may form a loop).
    """
    for path in paths:
        if not path.is_dir():
            yield path
            continue
        for folder, subfolders, names in os.walk(path):
            subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
            for name in sorted(names):
                if not name.startswith(".") and Path(name).suffix.lower() in EXTENSIONS:
                    yield Path(folder, name)


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
