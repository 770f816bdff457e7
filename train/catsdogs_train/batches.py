"""Feeds Keras with pictures that our own decoder read, ahead of the network, on any backend."""

import math
from collections.abc import Sequence
from concurrent.futures import BrokenExecutor, Future
from copy import copy
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

import keras
import numpy as np
from numpy.typing import NDArray

from catsdogs_edge.errors import ImageError
from catsdogs_edge.image import RgbBatch
from catsdogs_train.augment import Recipe
from catsdogs_train.dataset import Sample
from catsdogs_train.decoding import Showing, submit

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


@dataclass(frozen=True, slots=True)
class Share:
    """What a process gets of each batch that several devices work on together."""

    devices: int = 1
    """That share a batch, on all hosts; as many on each."""
    hosts: int = 1
    """Processes, each with some of them."""
    host: int = 0
    """This one of them, counted from 0."""

    @property
    def salt(self) -> tuple[int, ...]:
        """Makes processes mix pictures each in its own way; nothing where there is one."""
        return (self.host,) if self.hosts > 1 else ()

    def usable(self, count: int, batch_size: int) -> int:
        """Gives how many pictures an epoch shows.

        Of a last batch that devices cannot share evenly, the rest is left out: in each epoch other pictures, and fewer
        than there are devices.
        """
        return count - count % batch_size % self.devices

    def of_batch(self, places: NDArray[np.intp]) -> NDArray[np.intp]:
        """Gives this process its part of a batch."""
        mine = len(places) // self.hosts
        return places[self.host * mine : (self.host + 1) * mine]

    def block(self, count: int) -> NDArray[np.intp]:
        """Gives this process its pictures of many that are asked about; each has as many: the last may be repeated."""
        each = math.ceil(count / self.hosts)
        return np.minimum(np.arange(self.host * each, (self.host + 1) * each), count - 1)


class PictureBatches(keras.utils.PyDataset):  # type: ignore[misc]
    """Batches of uint8 RGB pictures of one epoch, decoded ahead of the network.

    By threads, or processes, of our own: those of Keras 3.15 hand batches of one epoch to the next on JAX.

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
        share: What this process shows of each batch, if others show the rest.
        workers: Processes that decode; 0: threads.

    Attributes:
        count: Of the pictures.
        failure: Why a batch could not be read, an `ImageError`, or processes do not work; the backend wraps the
            exception itself beyond recognition.
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
        share: Share | None = None,
        workers: int = 0,
    ) -> None:
        super().__init__()
        self.failure: Exception | None = None
        self.count = len(samples)
        self._samples = samples
        self._targets = targets
        self._batch_size = batch_size
        self._weights = np.ones(len(samples), np.float32) if weights is None else weights
        self._showing = Showing(image_size, recipe, view_size, seed, view)
        self._mixup = mixup
        self._shuffle = shuffle
        self._share = share or Share()
        self._workers = workers
        self._order = np.arange(len(samples))
        self._ahead: dict[int, list[Future[RgbBatch]]] = {}

    def of(self, places: NDArray[np.intp]) -> "PictureBatches":
        """Gives the same view of some of the pictures, not shuffled."""
        some = copy(self)
        some.count, some._order, some._shuffle, some._ahead = len(places), places, False, {}
        return some

    def __len__(self) -> int:
        return math.ceil(self._share.usable(self.count, self._batch_size) / self._batch_size)

    def __getitem__(self, index: int) -> tuple[RgbBatch, Targets, Weights]:
        """Gives pictures of shape (N, S, S, 3), uint8 RGB, targets of shape (N, C) and weights of shape (N,)."""
        try:
            for later in range(index, min(index + 1 + BATCHES_AHEAD, len(self))):
                if later not in self._ahead:
                    self._ahead[later] = self._submit(self._places(later).tolist())
            images = np.concatenate([some.result() for some in self._ahead.pop(index)])
        except (ImageError, BrokenExecutor, OSError) as error:
            self.failure = error
            raise
        places = self._places(index)
        batch = images, self._targets[places], self._weights[places]
        return self._mix(*batch, index) if self._mixup else batch

    def _places(self, index: int) -> NDArray[np.intp]:
        usable = self._share.usable(self.count, self._batch_size)
        order = draw_order(self._showing.seed, self._showing.view, self.count) if self._shuffle else self._order
        return self._share.of_batch(order[index * self._batch_size : min((index + 1) * self._batch_size, usable)])

    def _submit(self, places: list[int]) -> list[Future[RgbBatch]]:
        return submit([self._samples[place].path for place in places], places, self._showing, self._workers)

    def _mix(
        self, images: RgbBatch, targets: Targets, weights: Weights, index: int
    ) -> tuple[RgbBatch, Targets, Weights]:
        how = self._showing
        random = np.random.default_rng((how.seed, how.view, index, len(self._samples), *self._share.salt))
        share = np.float32(random.beta(self._mixup, self._mixup))
        other = random.permutation(len(images))
        mixed = np.rint(share * images + (1 - share) * images[other])
        counted = weights[:, None] * targets  # each part of a mixed target counts as its own picture does
        counted = share * counted + (1 - share) * counted[other]
        total = counted.sum(axis=1)
        return np.asarray(mixed, np.uint8), counted / total[:, None], total


class ArrayBatches(keras.utils.PyDataset):  # type: ignore[misc]
    """Batches of pictures that are in memory.

    Args:
        pictures: uint8 RGB, shape (N, S, S, 3).
        size: Of a batch; the last one may be smaller.

    Attributes:
        count: Of the pictures.
        failure: None; nothing has to be read.
    """

    def __init__(self, pictures: RgbBatch, size: int) -> None:
        super().__init__()
        self.count = len(pictures)
        self.failure: ImageError | None = None
        self._pictures = pictures
        self._size = size

    def of(self, places: NDArray[np.intp]) -> "ArrayBatches":
        """Gives some of the pictures."""
        return ArrayBatches(self._pictures[places], self._size)

    def __len__(self) -> int:
        return math.ceil(len(self._pictures) / self._size)

    def __getitem__(self, index: int) -> tuple[RgbBatch]:
        """Gives pictures of shape (N, S, S, 3), uint8 RGB."""
        return (self._pictures[index * self._size : (index + 1) * self._size],)


class Padded(keras.utils.PyDataset):  # type: ignore[misc]
    """Pictures to ask about, in batches that devices can share evenly: the last picture of all is repeated.

    Args:
        batches: Each of a multiple of `devices`, but for the last one.
        devices: That share a batch.
    """

    def __init__(self, batches: PictureBatches | ArrayBatches, devices: int) -> None:
        super().__init__()
        self._batches = batches
        self._devices = devices

    def __len__(self) -> int:
        return len(self._batches)

    def __getitem__(self, index: int) -> tuple[RgbBatch]:
        """Gives pictures of shape (N, S, S, 3), uint8 RGB."""
        images = self._batches[index][0]
        missing = -len(images) % self._devices
        return (np.concatenate([images, *[images[-1:]] * missing]) if missing else images,)
