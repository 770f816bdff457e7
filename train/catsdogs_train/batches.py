"""Feeds Keras with pictures that our own decoder read, on any backend."""

import math
import os
from collections.abc import Sequence

import keras
import numpy as np
from numpy.typing import NDArray

from catsdogs_edge.errors import ImageError
from catsdogs_edge.image import RgbBatch, load_batch
from catsdogs_train.dataset import Sample


class PictureBatches(keras.utils.PyDataset):  # type: ignore[misc]
    """Batches of uint8 RGB pictures with their labels, decoded by threads ahead of the network.

    Args:
        samples: Labelled pictures, all readable.
        image_size: Edge length in pixels.
        batch_size: Pictures in a batch; the last one may be smaller.
        shuffle_seed: Seed of a new order for every epoch; None keeps the order.

    Attributes:
        failure: Why a batch could not be read; the backend wraps the exception itself beyond recognition.
    """

    def __init__(
        self, samples: Sequence[Sample], image_size: int, batch_size: int, shuffle_seed: int | None = None
    ) -> None:
        super().__init__(workers=os.cpu_count() or 1)
        self.failure: ImageError | None = None
        self._samples = samples
        self._image_size = image_size
        self._batch_size = batch_size
        self._random = None if shuffle_seed is None else np.random.default_rng(shuffle_seed)
        self._order = np.arange(len(samples))
        self.on_epoch_end()

    def __len__(self) -> int:
        return math.ceil(len(self._samples) / self._batch_size)

    def __getitem__(self, index: int) -> tuple[RgbBatch, NDArray[np.int32]]:
        """Gives pictures of shape (N, S, S, 3), uint8 RGB, and labels of shape (N,)."""
        places = self._order[index * self._batch_size : (index + 1) * self._batch_size]
        chosen = [self._samples[place] for place in places]
        try:
            images = load_batch([sample.path for sample in chosen], self._image_size)
        except ImageError as error:
            self.failure = error
            raise
        return images, np.array([sample.label for sample in chosen], np.int32)

    def on_epoch_end(self) -> None:
        """Draws the order of the next epoch."""
        if self._random is not None:
            self._order = self._random.permutation(len(self._samples))
