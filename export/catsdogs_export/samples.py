"""Chooses the images that a conversion is judged by, and those that INT8 is calibrated on."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

from catsdogs_edge.errors import DataError, ImageError
from catsdogs_edge.images.decode import read
from catsdogs_edge.images.discovery import find_images
from catsdogs_edge.output.files import sha256
from catsdogs_export.run_folder import LabelledImage, RunFolder

_log = logging.getLogger(__name__)

SAME_IMAGES = 64
"""Images of levels A and B: Keras takes 60 ms for each, and what they find shows on every image."""

LABELLED_IMAGES = 2000
"""Images of level C: one label is then 0.05 points."""

CALIBRATION_IMAGES = 128
"""Images that are enough for stable ranges."""

_Item = TypeVar("_Item")


def spread(items: Sequence[_Item], count: int) -> list[_Item]:
    """Takes so many items, evenly spread: images are listed class after class."""
    count = min(count, len(items))
    return [items[int(index)] for index in np.linspace(0, len(items) - 1, count)]


def calibration_images(run: RunFolder, folder: Path | None, seed: int) -> list[Path]:
    """Draws readable images at random, never one that the model is judged by.

    They come from a folder, or from the run's own training images. Raises `DataError` where there is none, or one of
    the folder is a validation image of the run.
    """
    if folder is None:
        _require_there(run.train, "calibrate on others, with --calibrate DIR")
        candidates = [image.path for image in run.train]
    else:
        if not folder.is_dir():
            raise DataError(f"--calibrate {folder}: no such folder")
        candidates = list(find_images([folder]))
    judges = {image.sha256 for image in run.val}
    chosen: list[Path] = []
    for index in np.random.default_rng(seed).permutation(len(candidates)):
        path = candidates[index]
        try:
            read(path)
        except ImageError as error:
            _log.info("left out: %s: %s", path, error)
            continue
        if sha256(path) in judges:
            if folder is not None:
                raise DataError(
                    f"{path} is a validation image of the run: a model calibrated on it would be judged by what it "
                    "knows; calibrate on training images"
                )
            _log.info("left out: %s: the same image is among those to validate on", path)
            continue
        chosen.append(path)
        if len(chosen) == CALIBRATION_IMAGES:
            break
    if not chosen:
        raise DataError(f"no readable image to calibrate on in {folder or run.model.parent}")
    return chosen


def _require_there(images: Sequence[LabelledImage], way_out: str = "train again") -> None:
    """Refuses to work on a part of the run's images without saying so: raises `DataError` where some are gone."""
    if not images:
        raise DataError(f"the run's split.csv names no image for this: {way_out}")
    if missing := [image.path for image in images if not image.path.is_file()]:
        raise DataError(
            f"{len(missing)} of the run's {len(images)} images in split.csv are gone, such as {missing[0]}: put them "
            f"back, or {way_out}"
        )


def require_validation_images(run: RunFolder) -> None:
    """Refuses other images than those that validated: raises `DataError` where some are gone, or changed."""
    _require_there(run.val)
    if changed := [image.path for image in run.val if sha256(image.path) != image.sha256]:
        raise DataError(
            f"{len(changed)} of the {len(run.val)} validation images of the run are not what they were, such as "
            f"{changed[0]}: put the old ones back, or train again"
        )
