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
from catsdogs_train.batches import PictureBatches, draw_order
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

_VIEW = Recipe(soft=0.25)
"""What is learned from: neither side may be known by how sharp its pictures are. Cameras and archives differ in it."""

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
    samples: Sequence[Sample],
    others: Sequence[Sample],
    val_features: Features,
    ask: Callable[[PictureBatches | RgbBatch], Features],
) -> Learned:
    """Learns to tell pictures of the classes from others.

    Args:
        settings: Of the training.
        samples: To train with; `MOST` of them are taken by lot.
        others: From `find_others`; none: what is far from the training pictures is not familiar.
        val_features: Of validation pictures, which set the threshold.
        ask: Gives the features of pictures.
    """
    chosen = [samples[place] for place in np.sort(draw_order(settings.seed, 0, len(samples))[:MOST])]
    if not others:
        detector = fit_distance(ask(_show(settings, chosen))).keeping(settings.keep, val_features)
        return Learned(detector, settings.keep, 0, detector.score(val_features), np.zeros(0))
    features = ask(_show(settings, chosen, _VIEW))
    blurred = load_batch([sample.path for sample in chosen[:: max(len(chosen) // _NOTHING, 1)]], settings.image_size)
    nothing = ask(draw_nothing(_NOTHING, settings.image_size, settings.seed, list(blurred)))
    views = [ask(_show(settings, others, recipe)) for recipe in (None, _VIEW)]

    def fit(places: NDArray[np.intp]) -> Detector:
        sides = np.concatenate([nothing, *(view[places] for view in views)])
        return fit_boundary(features, sides).keeping(settings.keep, val_features)

    scores = np.zeros(len(others))
    folds = np.array([sample.label for sample in others])
    for fold in range(FOLDS):
        scores[folds == fold] = fit(np.flatnonzero(folds != fold)).score(views[0][folds == fold])
    detector = fit(np.arange(len(others)))
    return Learned(detector, settings.keep, len(others), detector.score(val_features), scores)


def _show(settings: Settings, samples: Sequence[Sample], recipe: Recipe | None = None) -> PictureBatches:
    targets = np.zeros((len(samples), 1), np.float32)
    sizes = settings.image_size, settings.batch_size
    return PictureBatches(samples, targets, *sizes, recipe=recipe, seed=settings.seed, workers=settings.workers)


def _folds(paths: Sequence[Path]) -> list[int]:
    """Gives each picture a fold: its folder's, so that what is alike is together, or, with few folders, its own."""
    folders = sorted({path.parent for path in paths})
    if len(folders) < FOLDS:
        return [place % FOLDS for place in range(len(paths))]
    return [folders.index(path.parent) % FOLDS for path in paths]
