"""Classifies picture files on all cores: each worker decodes a few pictures and runs the model on them.

Workers that do all of it, each on one core, leave no core idle: sharing each inference between the cores makes them
wait for each other in every layer.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TypeAlias, TypeVar

from catsdogs_edge.classifier import Classifier
from catsdogs_edge.cpu import usable_cpus
from catsdogs_edge.decision import Prediction
from catsdogs_edge.errors import ImageError
from catsdogs_edge.image import RgbImage, load
from catsdogs_edge.providers import Provider

BATCH_SIZE = 4
"""Pictures in one inference: a core gains 5 % over one at a time, and with more only needs more memory."""

BATCHES_AHEAD = 2
"""Batches for each worker that are begun before the first one's rows are out."""

Loaded: TypeAlias = tuple[Path, RgbImage | ImageError]
"""A file with its pixels, uint8 RGB (S, S, 3), or with the reason why not."""

_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class Row:
    """The outcome for one file: a prediction or an error, never both."""

    path: Path
    """As it was given or found."""
    prediction: Prediction | None
    """None where there is an error."""
    error: str
    """Why the file could not be classified; empty where it was."""


def classify_files(classifier: Classifier, paths: Iterable[Path], *, workers: int = 1) -> Iterator[Row]:
    """Classifies files one batch after the other, in order.

    A file that cannot be decoded becomes a row with its error; the rest goes on.

    Args:
        classifier: The model; for several workers, loaded with `threads=1`.
        paths: Picture files; consumed as needed, so there may be millions.
        workers: Batches in work at a time, such as one for each core. Off the CPU they decode at the same time, but run
            the model one after the other: DirectML allows no more, and a GPU's memory might not hold it.
    """
    turn = nullcontext() if classifier.provider == Provider.CPU.onnx_name else threading.Lock()

    def classify(chunk: Sequence[Path]) -> list[Row]:
        loaded = [_load(path, classifier.contract.image_size) for path in chunk]
        images = [item for _, item in loaded if not isinstance(item, ImageError)]
        with turn:
            predictions = iter(classifier.classify(images))
        return [
            Row(path, None, str(item)) if isinstance(item, ImageError) else Row(path, next(predictions), "")
            for path, item in loaded
        ]

    for rows in _work(classify, paths, workers):
        yield from rows


def load_files(paths: Iterable[Path], size: int) -> Iterator[list[Loaded]]:
    """Decodes and resizes files on all cores, ahead and in order.

    Args:
        paths: Picture files; consumed as needed, so there may be millions.
        size: Edge length in pixels.

    Yields:
        Up to `BATCH_SIZE` files.
    """
    yield from _work(lambda chunk: [_load(path, size) for path in chunk], paths, usable_cpus())


def _work(work: Callable[[list[Path]], _Result], paths: Iterable[Path], workers: int) -> Iterator[_Result]:
    """Gives what becomes of each batch, in order; `BATCHES_AHEAD` for each worker are begun before they are needed."""
    remaining = iter(paths)
    ahead: deque[Future[_Result]] = deque()
    pool = ThreadPoolExecutor(workers)
    try:
        while True:
            while len(ahead) <= BATCHES_AHEAD * workers and (chunk := list(islice(remaining, BATCH_SIZE))):
                ahead.append(pool.submit(work, chunk))
            if not ahead:
                return
            yield ahead.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _load(path: Path, size: int) -> Loaded:
    try:
        return path, load(path, size)
    except ImageError as error:
        return path, error
