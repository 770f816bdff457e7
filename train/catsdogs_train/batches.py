"""Feeds Keras with pictures that our own decoder read, on any backend."""

import math
from collections.abc import Sequence

import keras
import numpy as np
from numpy.typing import NDArray

from catsdogs_edge.cpu import usable_cpus
from catsdogs_edge.errors import ImageError
from catsdogs_edge.image import RgbBatch, load_batch
from catsdogs_train.augment import make_view
from catsdogs_train.dataset import Sample


class PictureBatches(keras.utils.PyDataset):  # type: ignore[misc]
    """Batches of uint8 RGB pictures with their labels, decoded by threads ahead of the network.

    Args:
        samples: Labelled pictures, all readable.
        image_size: Edge length in pixels.
        batch_size: Pictures in a batch; the last one may be smaller.
        seed: Of the views; None shows the pictures as they are.
        view: Number of the view that is shown in the first epoch; each epoch shows the next.
        shuffle: Draw a new order for every epoch, from the same seed.

    Attributes:
        failure: Why a batch could not be read; the backend wraps the exception itself beyond recognition.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        image_size: int,
        batch_size: int,
        *,
        seed: int | None = None,
        view: int = 0,
        shuffle: bool = False,
    ) -> None:
        super().__init__(workers=usable_cpus())
        self.failure: ImageError | None = None
        self._samples = samples
        self._image_size = image_size
        self._batch_size = batch_size
        self._seed = seed
        self._view = view
        self._random = np.random.default_rng(seed) if shuffle else None
        self._order = np.arange(len(samples))
        self._shuffle()

    def __len__(self) -> int:
        return math.ceil(len(self._samples) / self._batch_size)

    def __getitem__(self, index: int) -> tuple[RgbBatch, NDArray[np.int32]]:
        """Gives pictures of shape (N, S, S, 3), uint8 RGB, and labels of shape (N,)."""
        places = self._order[index * self._batch_size : (index + 1) * self._batch_size]
        try:
            images = load_batch([self._samples[place].path for place in places], self._image_size)
        except ImageError as error:
            self.failure = error
            raise
        if self._seed is not None:
            shown = [
                make_view(image, self._seed, self._view, int(place))
                for image, place in zip(images, places, strict=True)
            ]
            images = np.stack(shown)
        return images, np.array([self._samples[place].label for place in places], np.int32)

    def on_epoch_end(self) -> None:
        """Goes on to the next view, in a new order."""
        self._view += 1
        self._shuffle()

    def _shuffle(self) -> None:
        if self._random is not None:
            self._order = self._random.permutation(len(self._samples))
