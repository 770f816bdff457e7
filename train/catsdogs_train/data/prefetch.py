"""Decodes images and draws views ahead of the network, by threads or by processes.

Threads share one interpreter, whose lock they hand around: however many cores there are, they show no more than some
1,500 views a second. A CPU never learns as fast, a large GPU does (benchmarks/RESULTS.md).
"""

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from multiprocessing import resource_tracker
from pathlib import Path

import cv2
import numpy as np

from catsdogs_edge.images.decode import RgbBatch, load_batch
from catsdogs_edge.runtime.children import protect_descendants
from catsdogs_edge.runtime.cpu import usable_cpus
from catsdogs_train.data.augmentation import Recipe, make_view

_AT_ONCE = 8  # images that a thread or process is given at a time, at most

_executors: dict[int, Executor] = {}  # by their number of processes


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


def submit(paths: Sequence[Path], indices: Sequence[int], viewing: Viewing, workers: int) -> list[Future[RgbBatch]]:
    """Has views loaded in the background by so many processes, or (0) threads; see `load_views`."""
    if workers not in _executors:
        _executors[workers] = _start(workers)
    size = max(min(len(paths) // (workers or usable_cpus()), _AT_ONCE), 1)
    with _without_interrupts() if workers else nullcontext():
        return [
            _executors[workers].submit(load_views, paths[start : start + size], indices[start : start + size], viewing)
            for start in range(0, len(paths), size)
        ]


def stop() -> None:
    """Forgets what is still to be shown, so that a training that is broken off ends at once."""
    while _executors:
        workers, executor = _executors.popitem()
        executor.shutdown(wait=workers > 0, cancel_futures=True)  # else Python tells of semaphores that they leave


def _start(workers: int) -> Executor:
    if not workers:
        return ThreadPoolExecutor(usable_cpus())
    protect_descendants()
    # Not forked: a fork of a process that has threads, as TensorFlow and JAX do, may hang.
    return ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _begin_worker)


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """Starts processes that Ctrl-C, which reaches the whole group, does not disturb: they inherit what is blocked.

    The parent gets it a moment later, and says what there is to say.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # a process of Python's own, at whose start it lets the signal through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # where it could not be blocked
    threading.Thread(target=_end_with_parent, daemon=True).start()
    cv2.setNumThreads(1)  # the others have images of their own


def _end_with_parent() -> None:
    """Ends this worker when its parent does, even by `kill -9`: its queue alone would let it wait for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
