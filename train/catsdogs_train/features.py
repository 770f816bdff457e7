"""Asks a frozen backbone once, and not in every epoch.

Its answer for a view never changes. So each picture's pooled features are computed for a number of views, and the
output layer learns from them: as many passes as one likes, in seconds.
"""

import math
from collections.abc import Sequence
from typing import TypeAlias

import keras
import numpy as np
from numpy.typing import NDArray

from catsdogs_train.batches import PictureBatches
from catsdogs_train.dataset import Sample

Features: TypeAlias = NDArray[np.float32]
"""Pooled features of pictures, shape (N, 2048)."""


def split_network(network: keras.Model) -> tuple[keras.Model, keras.Model]:
    """Gives the frozen part, pictures to features, and the part that learns, features to logits; weights are shared.

    Args:
        network: From `build_network`.
    """
    head = network.get_layer("logits")
    features = head.input
    entrance = keras.Input(features.shape[1:], name="features")
    return keras.Model(network.input, features, name="extractor"), keras.Model(entrance, head(entrance), name="head")


def compute(extractor: keras.Model, batches: PictureBatches, callbacks: Sequence[keras.callbacks.Callback]) -> Features:
    """Computes the features of pictures, in their order.

    Args:
        extractor: From `split_network`.
        batches: Pictures, not shuffled.
        callbacks: Such as a bar.
    """
    return np.asarray(extractor.predict(batches, callbacks=list(callbacks), verbose=0), np.float32)


class FeatureBatches(keras.utils.PyDataset):  # type: ignore[misc]
    """Batches of features with their labels; each epoch takes the next view, and another order.

    Args:
        views: Features of the same pictures, one array for each view.
        samples: Those pictures.
        batch_size: In a batch; the last one may be smaller.
        shuffle_seed: Seed of the orders.
    """

    def __init__(
        self, views: Sequence[Features], samples: Sequence[Sample], batch_size: int, shuffle_seed: int
    ) -> None:
        super().__init__()
        self._views = views
        self._labels = np.array([sample.label for sample in samples], np.int32)
        self._batch_size = batch_size
        self._random = np.random.default_rng(shuffle_seed)
        self._epoch = 0
        self._order = self._random.permutation(len(samples))

    def __len__(self) -> int:
        return math.ceil(len(self._labels) / self._batch_size)

    def __getitem__(self, index: int) -> tuple[Features, NDArray[np.int32]]:
        """Gives features of shape (N, 2048) and labels of shape (N,)."""
        places = self._order[index * self._batch_size : (index + 1) * self._batch_size]
        return self._views[self._epoch % len(self._views)][places], self._labels[places]

    def on_epoch_end(self) -> None:
        """Goes on to the next view."""
        self._epoch += 1
        self._order = self._random.permutation(len(self._labels))
