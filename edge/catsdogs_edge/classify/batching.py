"""Classifies images on all cores: each worker decodes a few and runs the model on them.

Workers that do all of it, each on one core, leave no core idle: sharing each inference between the cores makes them
wait for each other in every layer.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Generic, TypeVar

from catsdogs_edge.errors import ImageError
from catsdogs_edge.images.decode import RgbImage, load
from catsdogs_edge.model.classifier import Classifier
from catsdogs_edge.model.prediction import Prediction
from catsdogs_edge.runtime.cpu import usable_cpus

BATCH_SIZE = 4
"""Images in one inference: a core gains 5 % over one at a time, and with more only needs more memory. A GPU takes more
(`Classifier.fixed_batch`)."""

BATCHES_AHEAD = 2
"""Batches for each worker that are begun before the first one's rows are out."""

Source = TypeVar("Source")
"""Where an image comes from: the path of a file, if nothing else is said."""

_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class ImageResult(Generic[Source]):
    """The outcome for one image: a prediction or an error, never both."""

    path: Source
    """The path as it was given or found."""
    prediction: Prediction | None
    """None where there is an error."""
    error: str
    """Why the file could not be classified; empty where it was."""


def classify_files(classifier: Classifier, paths: Iterable[Path], *, workers: int = 1) -> Iterator[ImageResult[Path]]:
    """Classifies files; see `classify_all`."""
    return classify_all(classifier, paths, load, workers=workers)


def classify_all(
    classifier: Classifier,
    sources: Iterable[Source],
    load: Callable[[Source, int], RgbImage],
    *,
    workers: int = 1,
    maps: bool = False,
) -> Iterator[ImageResult[Source]]:
    """Classifies images one batch after the other, in order.

    One that cannot be read or decoded becomes a row with its error; the rest goes on.

    Args:
        classifier: The model; for several workers, loaded with `threads=1`.
        sources: Of the images; consumed as needed, so there may be millions.
        load: Returns an image of a size S, uint8 RGB (S, S, 3), or raises `ImageError`.
        workers: Batches in work at a time, such as one for each core; see `Classifier` on how a device takes them.
        maps: Predictions also say where in the images they come from.
    """

    def classify(chunk: Sequence[Source]) -> list[ImageResult[Source]]:
        loaded = [_load(source, load, classifier.contract.image_size) for source in chunk]
        images = [item for item in loaded if not isinstance(item, ImageError)]
        predictions = iter(classifier.classify(images, maps=maps))
        rows = []
        for source, item in zip(chunk, loaded, strict=True):
            prediction = None if isinstance(item, ImageError) else next(predictions)
            problem = str(item) if prediction is None else prediction.problem
            rows.append(ImageResult(source, None if problem else prediction, problem))
        return rows

    for rows in in_batches(classify, sources, workers, classifier.fixed_batch or BATCH_SIZE):
        yield from rows


def load_files(paths: Iterable[Path], size: int) -> Iterator[list[tuple[Path, RgbImage | ImageError]]]:
    """Decodes and resizes files on all cores, ahead and in order; yields up to `BATCH_SIZE` of them at a time."""
    yield from in_batches(lambda chunk: [(path, _load(path, load, size)) for path in chunk], paths, usable_cpus())


def in_batches(
    work: Callable[[list[Source]], _Result], sources: Iterable[Source], workers: int, batch_size: int = BATCH_SIZE
) -> Iterator[_Result]:
    """Works on batches of up to `batch_size` in threads, and yields what becomes of each, in order.

    `sources` are consumed as needed; `BATCHES_AHEAD` batches for each worker are begun before they are needed.
    """
    remaining = iter(sources)
    ahead: deque[Future[_Result]] = deque()
    pool = ThreadPoolExecutor(workers)
    try:
        while True:
            while len(ahead) <= BATCHES_AHEAD * workers and (chunk := list(islice(remaining, batch_size))):
                ahead.append(pool.submit(work, chunk))
            if not ahead:
                return
            yield ahead.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _load(source: Source, load: Callable[[Source, int], RgbImage], size: int) -> RgbImage | ImageError:
    try:
        return load(source, size)
    except ImageError as error:
        return error
