"""Decodes images and draws views ahead of the network, by threads."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from catsdogs_edge.images.decode import RgbBatch, load_batch
from catsdogs_edge.runtime.cpu import usable_cpus
from catsdogs_train.views.augmentation import Recipe, Views, draw_views, show_view

_AT_ONCE = 8  # images that a thread is given at a time, at most

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

    @property
    def view_size(self) -> int:
        """Edge length of what is shown, in pixels."""
        return self.size or self.image_size

    def draw(self, indices: Sequence[int]) -> Views:
        """Draws what the views of images look like, by their indices among all; there must be a recipe."""
        assert self.recipe is not None  # noqa: S101 - for mypy
        return draw_views(self.image_size, self.seed, self.view, indices, self.recipe, self.size)


def load_views(paths: Sequence[Path], indices: Sequence[int], viewing: Viewing) -> RgbBatch:
    """Reads images and draws a view of each, by its index among all; returns uint8 RGB (N, S, S, 3).

    Raises `ImageError` that names the file that cannot be read.
    """
    images = load_batch(paths, viewing.image_size)
    if viewing.recipe is None:
        return images
    return np.stack([show_view(*pair, viewing.view_size) for pair in zip(images, viewing.draw(indices), strict=True)])


def submit(paths: Sequence[Path], indices: Sequence[int], viewing: Viewing) -> list[Future[RgbBatch]]:
    """Has views loaded in the background, a few at a time; see `load_views`."""
    size = max(min(len(paths) // usable_cpus(), _AT_ONCE), 1)
    return [
        submit_one(load_views, paths[start : start + size], indices[start : start + size], viewing)
        for start in range(0, len(paths), size)
    ]


def submit_one(work: Callable[..., _Result], *arguments: Any) -> Future[_Result]:
    """Has work done in the background."""
    if not _executors:
        _executors.append(ThreadPoolExecutor(usable_cpus()))
    return _executors[0].submit(work, *arguments)


def stop() -> None:
    """Forgets what is still to be shown, so that a training that is broken off ends at once."""
    while _executors:
        _executors.pop().shutdown(wait=False, cancel_futures=True)
