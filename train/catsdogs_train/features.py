"""Asks a frozen backbone once, and not in every epoch.

Its answer for a view never changes. So each picture's pooled features are computed for a number of views, and the
output layer learns from them: as many passes as one likes, in seconds.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

import keras
import numpy as np
from numpy.typing import NDArray

from catsdogs_edge.files import staged_file
from catsdogs_train.batches import PictureBatches, Targets, Weights, draw_order

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


def compute(
    extractor: keras.Model, batches: PictureBatches, file: Path, callbacks: Sequence[keras.callbacks.Callback]
) -> None:
    """Computes the features of pictures, in their order, unless that was done before.

    Args:
        extractor: From `split_network`.
        batches: Pictures, not shuffled.
        file: NPY file to keep them in, or where they are, 8 KB for each picture.
        callbacks: Such as a bar.

    Raises:
        OutputError: The file cannot be written.
    """
    if not is_whole(file):
        features = np.asarray(extractor.predict(batches, callbacks=list(callbacks), verbose=0), np.float32)
        with staged_file(file) as path:
            np.save(path, features)


def read_features(file: Path) -> Features:
    """Gives features that stay on the disk until they are asked for; the file is open as long as they are held.

    Args:
        file: From `compute`.
    """
    return np.asanyarray(np.load(file, mmap_mode="r"))


def is_whole(file: Path) -> bool:
    """Looks whether features are there, and not cut short, as after a power cut."""
    try:
        read_features(file)
    except (OSError, EOFError, ValueError):
        return False
    return True


class FeatureBatches(keras.utils.PyDataset):  # type: ignore[misc]
    """Batches of features, of one epoch, in its own order.

    Args:
        file: Features, from `compute`.
        targets: Of their pictures.
        weights: How much each counts.
        batch_size: In a batch; the last one may be smaller.
        seed: Of the orders.
        epoch: Which one, counted from 0.
    """

    def __init__(
        self,
        file: Path,
        targets: Targets,
        weights: Weights,
        batch_size: int,
        seed: int,
        epoch: int,
    ) -> None:
        super().__init__()
        self._file = file
        self._targets = targets
        self._weights = weights
        self._batch_size = batch_size
        self._seed = seed
        self._epoch = epoch

    def __len__(self) -> int:
        return math.ceil(len(self._targets) / self._batch_size)

    def __getitem__(self, index: int) -> tuple[Features, Targets, Weights]:
        """Gives features of shape (N, 2048), targets of shape (N, C) and weights of shape (N,)."""
        order = draw_order(self._seed, self._epoch, len(self._targets))
        places = order[index * self._batch_size : (index + 1) * self._batch_size]
        return np.asarray(read_features(self._file)[places]), self._targets[places], self._weights[places]
