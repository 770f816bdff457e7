"""Feeds Keras with pictures that our own decoder read, ahead of the network, on any backend."""

import math
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache, lru_cache
from typing import TypeAlias

import keras
import numpy as np
from numpy.typing import NDArray

from catsdogs_edge.cpu import usable_cpus
from catsdogs_edge.errors import ImageError
from catsdogs_edge.image import RgbBatch, RgbImage, load_batch
from catsdogs_train.augment import Recipe, make_view
from catsdogs_train.dataset import Sample

Targets: TypeAlias = NDArray[np.float32]
"""Share of each class in each picture, shape (N, C): 1 for its own, unless pictures are mixed."""

Weights: TypeAlias = NDArray[np.float32]
"""How much each picture counts, shape (N,)."""

BATCHES_AHEAD = 4
"""Batches that are being decoded while the network works on one."""


def make_targets(samples: Sequence[Sample], classes: int) -> Targets:
    """Gives what the network should answer: one-hot vectors."""
    return np.eye(classes, dtype=np.float32)[[sample.label for sample in samples]]


def make_weights(samples: Sequence[Sample], classes: int, *, balance: bool) -> Weights:
    """Lets each class count the same, however many pictures it has; 1 on average."""
    labels = np.array([sample.label for sample in samples])
    counts = np.bincount(labels, minlength=classes)
    return np.asarray(len(labels) / (classes * counts[labels]) if balance else np.ones(len(labels)), np.float32)


@lru_cache(maxsize=4)  # shared by all that ask, because TensorFlow never lets go of a data set
def draw_order(seed: int, epoch: int, count: int) -> NDArray[np.intp]:
    """Draws the order of an epoch; it depends on nothing else, so that a training can be taken up anywhere."""
    return np.asarray(np.random.default_rng((seed, epoch)).permutation(count), np.intp)


class PictureBatches(keras.utils.PyDataset):  # type: ignore[misc]
    """Batches of uint8 RGB pictures of one epoch, decoded by threads ahead of the network.

    The threads are our own: those of Keras 3.15 hand batches of one epoch to the next on JAX.

    Args:
        samples: Labelled pictures, all readable.
        targets: Theirs, from `make_targets`.
        image_size: Edge length in pixels.
        batch_size: Pictures in a batch; the last one may be smaller.
        weights: How much each counts; None: 1.
        recipe: For the views; None shows the pictures as they are.
        view_size: Edge length of the views in pixels; None: the pictures'.
        seed: Of the views, the order and the mixing.
        view: Number of the view that is shown, such as the epoch.
        shuffle: Draw an order for the view.
        mixup: Parameter of the beta distribution by which each picture is mixed with another of its batch (Zhang et
            al., "mixup: Beyond Empirical Risk Minimization", 2018); 0 mixes none.

    Attributes:
        failure: Why a batch could not be read; the backend wraps the exception itself beyond recognition.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        targets: Targets,
        image_size: int,
        batch_size: int,
        *,
        weights: Weights | None = None,
        recipe: Recipe | None = None,
        view_size: int | None = None,
        seed: int = 0,
        view: int = 0,
        shuffle: bool = False,
        mixup: float = 0.0,
    ) -> None:
        super().__init__()
        self.failure: ImageError | None = None
        self._samples = samples
        self._targets = targets
        self._image_size = image_size
        self._batch_size = batch_size
        self._weights = np.ones(len(samples), np.float32) if weights is None else weights
        self._recipe = recipe
        self._view_size = view_size
        self._seed = seed
        self._view = view
        self._mixup = mixup
        self._shuffle = shuffle
        self._ahead: dict[int, list[Future[RgbImage]]] = {}

    def __len__(self) -> int:
        return math.ceil(len(self._samples) / self._batch_size)

    def __getitem__(self, index: int) -> tuple[RgbBatch, Targets, Weights]:
        """Gives pictures of shape (N, S, S, 3), uint8 RGB, targets of shape (N, C) and weights of shape (N,)."""
        for later in range(index, min(index + 1 + BATCHES_AHEAD, len(self))):
            if later not in self._ahead:
                self._ahead[later] = [_threads().submit(self._show, int(place)) for place in self._places(later)]
        try:
            images = np.stack([picture.result() for picture in self._ahead.pop(index)])
        except ImageError as error:
            self.failure = error
            raise
        places = self._places(index)
        batch = images, self._targets[places], self._weights[places]
        return self._mix(*batch, index) if self._mixup else batch

    def _places(self, index: int) -> NDArray[np.intp]:
        first, end = index * self._batch_size, min((index + 1) * self._batch_size, len(self._samples))
        if not self._shuffle:
            return np.arange(first, end)
        return draw_order(self._seed, self._view, len(self._samples))[first:end]

    def _show(self, place: int) -> RgbImage:
        """Gives the picture as it is shown, shape (S, S, 3)."""
        image: RgbImage = load_batch([self._samples[place].path], self._image_size)[0]
        if self._recipe is None:
            return image
        return make_view(image, self._seed, self._view, place, self._recipe, self._view_size)

    def _mix(
        self, images: RgbBatch, targets: Targets, weights: Weights, index: int
    ) -> tuple[RgbBatch, Targets, Weights]:
        random = np.random.default_rng((self._seed, self._view, index, len(self._samples)))
        share = np.float32(random.beta(self._mixup, self._mixup))
        other = random.permutation(len(images))
        mixed = np.rint(share * images + (1 - share) * images[other])
        counted = weights[:, None] * targets  # each part of a mixed target counts as its own picture does
        counted = share * counted + (1 - share) * counted[other]
        total = counted.sum(axis=1)
        return np.asarray(mixed, np.uint8), counted / total[:, None], total


def stop_decoding() -> None:
    """Forgets what is still to be decoded, so that a training that is broken off ends at once."""
    _threads().shutdown(wait=False, cancel_futures=True)
    _threads.cache_clear()


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(usable_cpus())
