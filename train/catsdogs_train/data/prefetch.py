"""Decodes images and draws views ahead of the network, by threads."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np

from catsdogs_edge.images.decode import RgbBatch, load_batch
from catsdogs_edge.runtime.cpu import usable_cpus
from catsdogs_train.data.augmentation import Recipe, make_view

_AT_ONCE = 8  # images that a thread is given at a time, at most

_Source = TypeVar("_Source")
_Result = TypeVar("_Result")

_executors: list[ThreadPoolExecutor] = []  # one, while there is something to do


@dataclass(frozen=True, slots=True, kw_only=True)
class Viewing:
    """How images are shown."""

    image_size: int
    """Edge length of the images in pixels."""
    recipe: Recipe | None = None
    """For the views; None shows the images as they are."""
    size: int | None = None
    """Edge length of the views in pixels; None takes that of the images."""
    seed: int = 0
    """Seed of the views, of their order, and of what is mixed."""
    view: int = 0
    """Number of the view, such as the epoch."""


def load_views(paths: Sequence[Path], indices: Sequence[int], viewing: Viewing) -> RgbBatch:
    """Reads images and draws a view of each, by its index among all; returns uint8 RGB (N, S, S, 3).

    Raises `ImageError` that names the file that cannot be read.
    """
    images = load_batch(paths, viewing.image_size)
    if viewing.recipe is None:
        return images
    numbered = zip(images, indices, strict=True)
    draw = partial(make_view, seed=viewing.seed, view=viewing.view, recipe=viewing.recipe, size=viewing.size)
    return np.stack([draw(image, index=index) for image, index in numbered])


def submit(
    work: Callable[[Sequence[_Source], Sequence[int], Viewing], _Result],
    sources: Sequence[_Source],
    indices: Sequence[int],
    viewing: Viewing,
) -> list[Future[_Result]]:
    """Has work done in the background, on a few sources, and their indices among all, at a time."""
    if not _executors:
        _executors.append(ThreadPoolExecutor(usable_cpus()))
    size = max(min(len(sources) // usable_cpus(), _AT_ONCE), 1)
    return [
        _executors[0].submit(work, sources[start : start + size], indices[start : start + size], viewing)
        for start in range(0, len(sources), size)
    ]


def stop() -> None:
    """Forgets what is still to be shown, so that a training that is broken off ends at once."""
    while _executors:
        _executors.pop().shutdown(wait=False, cancel_futures=True)
