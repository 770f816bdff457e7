"""Feeds Keras with images that our own decoder read, ahead of the network, on any backend."""

import math
from collections.abc import Sequence
from concurrent.futures import Future
from copy import copy
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple, TypeAlias

import keras
import numpy as np
from numpy.typing import NDArray

from catsdogs_edge.errors import ImageError
from catsdogs_edge.images.decode import RgbBatch
from catsdogs_train.data.split import Sample
from catsdogs_train.views.prefetch import Viewing, submit

Targets: TypeAlias = NDArray[np.float32]
"""Share of each class in each image, shape (N, C): 1 for its own, unless images are mixed."""

SampleWeights: TypeAlias = NDArray[np.float32]
"""How much each image counts, shape (N,)."""

BATCHES_AHEAD = 4
"""Batches that are being decoded while the network works on one."""


def make_targets(samples: Sequence[Sample], classes: int) -> Targets:
    """Returns the shares that the network should answer with: one-hot vectors, shape (N, C)."""
    return np.eye(classes, dtype=np.float32)[[sample.label for sample in samples]]


def make_sample_weights(samples: Sequence[Sample], classes: int, *, balance: bool) -> SampleWeights:
    """Lets each class count the same, however many images it has, and each image by its weight; 1 on average."""
    labels = np.array([sample.label for sample in samples])
    weights = np.array([sample.weight for sample in samples])
    totals = np.bincount(labels, weights, classes)
    balanced = weights / (classes * totals[labels]) if balance else weights / weights.sum()
    return np.asarray(len(labels) * balanced, np.float32)


@lru_cache(maxsize=4)  # shared by all that ask, because TensorFlow never lets go of a data set
def draw_order(seed: int, epoch: int, count: int) -> NDArray[np.intp]:
    """Draws the order of an epoch; it depends on nothing else, so that a training can be taken up anywhere."""
    return np.asarray(np.random.default_rng((seed, epoch)).permutation(count), np.intp)


@dataclass(frozen=True, slots=True)
class BatchShard:
    """What a process gets of each batch that several devices work on together."""

    devices: int = 1
    """Devices on all hosts that share a batch; as many on each host."""
    hosts: int = 1
    """Processes, each with some of the devices."""
    host: int = 0
    """The number of this process, from 0."""

    @property
    def salt(self) -> tuple[int, ...]:
        """Makes processes mix images each in its own way; nothing where there is one."""
        return (self.host,) if self.hosts > 1 else ()

    def usable(self, count: int, batch_size: int) -> int:
        """Returns how many images an epoch shows.

        Of a last batch that devices cannot share evenly, the rest is left out: in each epoch other images, and fewer
        than there are devices.
        """
        return count - count % batch_size % self.devices

    def batches(self, count: int, batch_size: int) -> int:
        """Returns how many batches an epoch has."""
        return math.ceil(self.usable(count, batch_size) / batch_size)

    def take(self, order: NDArray[np.intp], index: int, batch_size: int) -> NDArray[np.intp]:
        """Returns which images of an epoch's order this process shows in a batch."""
        end = min((index + 1) * batch_size, self.usable(len(order), batch_size))
        return self.of_batch(order[index * batch_size : end])

    def of_batch(self, indices: NDArray[np.intp]) -> NDArray[np.intp]:
        """Returns this process's part of a batch."""
        mine = len(indices) // self.hosts
        return indices[self.host * mine : (self.host + 1) * mine]

    def block(self, count: int) -> NDArray[np.intp]:
        """Returns this process's part of many images; each has as many: the last image may be repeated."""
        each = math.ceil(count / self.hosts)
        return np.minimum(np.arange(self.host * each, (self.host + 1) * each), count - 1)


class Mix(NamedTuple):
    """How the images of a batch are mixed."""

    share: np.float32
    """Of each image that is its own."""
    other: NDArray[np.intp]
    """Where in the batch the rest is from, shape (N,)."""


class ImageBatches(keras.utils.PyDataset):  # type: ignore[misc]
    """Batches of uint8 RGB images of one epoch, decoded ahead of the network.

    By threads of our own: those of Keras 3.15 hand batches of one epoch to the next on JAX.

    Args:
        samples: Labelled images, all readable.
        viewing: How they are shown.
        batch_size: Images in a batch; the last one may be smaller.
        targets: Theirs, from `make_targets`; None where nothing is learned from them.
        sample_weights: How much each counts; None: 1.
        shuffle: Draw an order for the view.
        mixup: Parameter of the beta distribution by which each image is mixed with another of its batch (Zhang et
            al., "mixup: Beyond Empirical Risk Minimization", 2018); 0 mixes none.
        shard: What this process shows of each batch, if others show the rest.

    Attributes:
        count: Of the images.
        failure: Why a batch could not be read; the backend wraps the exception itself beyond recognition.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        viewing: Viewing,
        batch_size: int,
        *,
        targets: Targets | None = None,
        sample_weights: SampleWeights | None = None,
        shuffle: bool = False,
        mixup: float = 0.0,
        shard: BatchShard | None = None,
    ) -> None:
        super().__init__()
        self.failure: ImageError | None = None
        self.count = len(samples)
        self._samples = samples
        self._viewing = viewing
        self._batch_size = batch_size
        self._targets = np.zeros((len(samples), 1), np.float32) if targets is None else targets
        self._weights = np.ones(len(samples), np.float32) if sample_weights is None else sample_weights
        self._mixup = mixup
        self._shuffle = shuffle
        self._shard = shard or BatchShard()
        self._order = np.arange(len(samples))
        self._ahead: dict[int, list[Future[Any]]] = {}

    def subset(self, indices: NDArray[np.intp]) -> "ImageBatches":
        """Returns the same view of some of the images, not shuffled."""
        some = copy(self)
        some.count, some._order, some._shuffle, some._ahead = len(indices), indices, False, {}
        return some

    def __len__(self) -> int:
        return self._shard.batches(self.count, self._batch_size)

    def __getitem__(self, index: int) -> tuple[Any, Targets, SampleWeights]:
        """Returns images of shape (N, S, S, 3), uint8 RGB, targets of shape (N, C) and weights of shape (N,)."""
        images = np.concatenate(self._take(index))
        targets, weights, (share, other) = self._answers(index)
        if self._mixup:
            images = np.asarray(np.rint(share * images + (1 - share) * images[other]), np.uint8)
        return images, targets, weights

    def _take(self, index: int) -> list[Any]:
        """Waits for what was submitted for a batch, and submits later ones."""
        try:
            for later in range(index, min(index + 1 + BATCHES_AHEAD, len(self))):
                if later not in self._ahead:
                    self._ahead[later] = self._submit(self._indices(later).tolist())
            return [some.result() for some in self._ahead.pop(index)]
        except ImageError as error:
            self.failure = error
            raise

    def _indices(self, index: int) -> NDArray[np.intp]:
        order = draw_order(self._viewing.seed, self._viewing.view, self.count) if self._shuffle else self._order
        return self._shard.take(order, index, self._batch_size)

    def _submit(self, indices: list[int]) -> list[Future[Any]]:
        return submit([self._samples[index].path for index in indices], indices, self._viewing)

    def _answers(self, index: int) -> tuple[Targets, SampleWeights, Mix]:
        """Returns targets and weights of a batch, and how its images are mixed."""
        indices = self._indices(index)
        targets, weights = self._targets[indices], self._weights[indices]
        if not self._mixup:
            return targets, weights, Mix(np.float32(1), np.arange(len(indices)))
        viewing = self._viewing
        random = np.random.default_rng((viewing.seed, viewing.view, index, len(self._samples), *self._shard.salt))
        share = np.float32(random.beta(self._mixup, self._mixup))
        other = random.permutation(len(indices))
        counted = weights[:, None] * targets  # each part of a mixed target counts as its own image does
        counted = share * counted + (1 - share) * counted[other]
        total = counted.sum(axis=1)
        shown = np.maximum(total, np.finfo(np.float32).tiny)  # 0 where neither has a label
        return counted / shown[:, None], total, Mix(share, other)


class ArrayBatches(keras.utils.PyDataset):  # type: ignore[misc]
    """Batches of images that are decoded, uint8 RGB (N, S, S, 3), in memory or on the disk; see `ImageBatches`."""

    def __init__(self, images: RgbBatch, size: int) -> None:
        super().__init__()
        self.count = len(images)
        self.failure: ImageError | None = None
        self._images = images
        self._order = np.arange(len(images))
        self._size = size

    def subset(self, indices: NDArray[np.intp]) -> "ArrayBatches":
        """Returns some of the images."""
        some = copy(self)
        some.count, some._order = len(indices), indices
        return some

    def __len__(self) -> int:
        return math.ceil(self.count / self._size)

    def __getitem__(self, index: int) -> tuple[RgbBatch]:
        """Returns images of shape (N, S, S, 3), uint8 RGB."""
        return (np.asarray(self._images[self._order[index * self._size : (index + 1) * self._size]]),)


class Padded(keras.utils.PyDataset):  # type: ignore[misc]
    """Images to ask about, in batches that devices can share evenly: the last image of all is repeated."""

    def __init__(self, batches: ImageBatches | ArrayBatches, devices: int) -> None:
        super().__init__()
        self._batches = batches
        self._devices = devices

    def __len__(self) -> int:
        return len(self._batches)

    def __getitem__(self, index: int) -> tuple[Any]:
        """Returns what the batches have for each image, such as its pixels, shape (N, ...)."""
        shown = self._batches[index][0]
        return (keras.tree.map_structure(self._pad, shown),)

    def _pad(self, rows: NDArray[Any]) -> NDArray[Any]:
        missing = -len(rows) % self._devices
        return np.concatenate([rows, *[rows[-1:]] * missing]) if missing else rows
