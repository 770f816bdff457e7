"""Pictures that show none of the classes, and what is learned from them."""

import hashlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from catsdogs_edge.errors import DataError, ImageError
from catsdogs_edge.image import RgbBatch, decode, load_batch, read_bytes
from catsdogs_edge.pictures import find_pictures
from catsdogs_train.augment import Recipe
from catsdogs_train.batches import PictureBatches
from catsdogs_train.dataset import Quarantined, Sample
from catsdogs_train.familiarity import Detector, Values, fit_boundary, fit_distance
from catsdogs_train.features import Features
from catsdogs_train.nothing import draw_nothing
from catsdogs_train.settings import Settings

_log = logging.getLogger(__name__)

FEWEST = 20
"""Pictures of neither that something can be learned from."""

MOST = 2000
"""Pictures of each side, drawn by lot: more take time and memory, and change little."""

FOLDS = 5
"""Parts of the pictures of neither, each judged by what was learned from the rest."""

_VIEWS = 4
"""Of each picture of neither, the first as it is."""

_CROPS = Recipe(smallest=0.5, largest=1.0, anywhere=True, flip=True, colour=0.25)
"""The others: a part of a room is as empty as the room."""

_NOTHING = 240
"""Frames that show nothing."""


@dataclass(frozen=True, slots=True)
class Learned:
    """How to tell pictures of the classes from others, and how well."""

    detector: Detector
    """With the threshold that keeps the promise."""
    keep: float
    """Promise: share of pictures of the classes that are kept, 0 to 1."""
    others: int
    """Pictures of neither that it was learned from."""
    val_scores: Values
    """Of validation pictures, which set the threshold, shape (N,); at least 0 is kept."""
    other_scores: Values
    """Of pictures of neither, shape (M,), each from a detector that knew none of its folder or, where they are in
    fewer folders than `FOLDS`, not the picture itself; likewise."""

    @property
    def refused(self) -> float | None:
        """Share of those that are refused, 0 to 1; None without any."""
        return float(np.mean(self.other_scores < 0)) if len(self.other_scores) else None


def find_others(folder: Path, samples: Sequence[Sample], seed: int) -> tuple[list[Sample], list[Quarantined]]:
    """Finds pictures of neither that can be read.

    Args:
        folder: To search.
        samples: Pictures of the classes; what is among them is left out.
        seed: Of the choice, where there are more than `MOST`.

    Returns:
        The pictures, each labelled with its fold, and what was left out and why.

    Raises:
        DataError: No such folder, or too few.
    """
    if not folder.is_dir():
        raise DataError(f"--other {folder}: no such folder (expected one with pictures that show none of the classes)")
    known = {sample.sha256 for sample in samples}
    seen: dict[str, Path] = {}
    left_out = []
    paths = list(find_pictures([folder]))
    for place in np.sort(np.random.default_rng(seed).permutation(len(paths))[:MOST]):
        path = paths[place]
        try:
            data = read_bytes(path)
            decode(data)
        except ImageError as error:
            left_out.append(Quarantined(path, str(error)))
            continue
        digest = hashlib.sha256(data).hexdigest()
        if digest in known:
            left_out.append(Quarantined(path, "in --other, and a picture of a class as well"))
        elif digest in seen:
            left_out.append(Quarantined(path, f"the same file as {seen[digest]}"))
        else:
            seen[digest] = path
    if len(seen) < FEWEST:
        raise DataError(
            f"--other {folder} holds {len(seen)} pictures that can be read and are in no class, expected at least "
            f"{FEWEST}"
        )
    folds = _folds(list(seen.values()))
    return [Sample(path, fold, digest) for (digest, path), fold in zip(seen.items(), folds, strict=True)], left_out


def learn(
    settings: Settings,
    features: Features,
    val_features: Features,
    pictures: Sequence[Path],
    others: Sequence[Sample],
    ask: Callable[[PictureBatches | RgbBatch], Features],
) -> Learned:
    """Learns to tell pictures of the classes from others.

    Args:
        settings: Of the training.
        features: Of training pictures.
        val_features: Of validation pictures, which set the threshold.
        pictures: Training pictures, to be blurred.
        others: From `find_others`; none: what is far from the training pictures is not familiar.
        ask: Gives the features of pictures.
    """
    if not others:
        detector = fit_distance(features).keeping(settings.keep, val_features)
        return Learned(detector, settings.keep, 0, detector.score(val_features), np.zeros(0))
    blurred = load_batch(list(pictures[:: max(len(pictures) // _NOTHING, 1)]), settings.image_size)
    nothing = ask(draw_nothing(_NOTHING, settings.image_size, settings.seed, list(blurred)))
    views = [ask(_view(settings, others, view)) for view in range(_VIEWS)]

    def fit(places: NDArray[np.intp]) -> Detector:
        sides = np.concatenate([nothing, *(view[places] for view in views)])
        return fit_boundary(features, sides).keeping(settings.keep, val_features)

    scores = np.zeros(len(others))
    folds = np.array([sample.label for sample in others])
    for fold in range(FOLDS):
        scores[folds == fold] = fit(np.flatnonzero(folds != fold)).score(views[0][folds == fold])
    detector = fit(np.arange(len(others)))
    return Learned(detector, settings.keep, len(others), detector.score(val_features), scores)


def _view(settings: Settings, others: Sequence[Sample], view: int) -> PictureBatches:
    recipe = _CROPS if view else None
    return PictureBatches(
        others,
        np.zeros((len(others), 1), np.float32),
        settings.image_size,
        settings.batch_size,
        recipe=recipe,
        seed=settings.seed,
        view=view,
    )


def _folds(paths: Sequence[Path]) -> list[int]:
    """Gives each picture a fold: its folder's, so that what is alike is together, or, with few folders, its own."""
    folders = sorted({path.parent for path in paths})
    if len(folders) < FOLDS:
        return [place % FOLDS for place in range(len(paths))]
    return [folders.index(path.parent) % FOLDS for path in paths]
