"""Computes the features of images: for the output layer, once and not in every epoch, and for familiarity.

What a frozen backbone answers to a view never changes. So each image's pooled features are computed for a number of
views, and the output layer learns from them: as many passes as one likes, in seconds.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

import keras
import numpy as np
from numpy.typing import NDArray

from catsdogs_edge.images.decode import RgbBatch
from catsdogs_train.data.arrays import is_whole, read_array, write_array
from catsdogs_train.network.distribution import Distribution
from catsdogs_train.network.resnet import get_backbone, stage_output, tap_backbone
from catsdogs_train.views.batches import BatchShard, ImageBatches, SampleWeights, Targets, draw_order

Features: TypeAlias = NDArray[np.float32]
"""Features of images, shape (N, W + E): first W that the output layer gets, then E of an earlier stage, conv4.

The first know what an animal is, the others what a sofa is. A ResNet50 has 2048 and 1024 of them.
"""


def make_head(network: keras.Model) -> keras.Model:
    """Makes a model of the output layer alone, features (N, W) to logits (N, C); weights are shared."""
    features = keras.Input(get_backbone(network).output.shape[1:], name="features")
    return keras.Model(features, network.get_layer("logits")(features), name="head")


def make_extractor(network: keras.Model) -> keras.Model:
    """Makes a model from images to both kinds of `Features`, apart; weights are shared."""
    backbone = get_backbone(network)
    earlier = keras.layers.GlobalAveragePooling2D(dtype="float32")(backbone.get_layer(stage_output(backbone, 4)).output)
    return keras.Model(network.input, tap_backbone(network, [backbone.output, earlier]), name="extractor")


def make_mapper(network: keras.Model) -> keras.Model:
    """Makes a model from images to a logit for each class and position, (N, h, w, C); weights are shared.

    The output layer is applied before the pooling: Zhou et al., "Learning Deep Features for Discriminative
    Localization", 2016.
    """
    backbone = get_backbone(network)
    maps = tap_backbone(network, backbone.get_layer(stage_output(backbone, 5)).output)
    return keras.Model(network.input, network.get_layer("logits")(maps), name="mapper")


def extract_features(
    extractor: keras.Model,
    batches: ImageBatches | RgbBatch,
    callbacks: Sequence[keras.callbacks.Callback],
    distribution: Distribution | None = None,
) -> Features:
    """Computes the features of images, not shuffled, or uint8 RGB (N, S, S, 3), on one or more devices."""
    return np.concatenate((distribution or Distribution()).predict(extractor, batches, callbacks), axis=1)


def compute_features(
    extractor: keras.Model,
    batches: ImageBatches | RgbBatch,
    file: Path,
    callbacks: Sequence[keras.callbacks.Callback],
    distribution: Distribution | None = None,
) -> None:
    """Computes features into an NPY file, 12 KB for each image of a ResNet50, unless that was done before."""
    distribution = distribution or Distribution()
    if not is_whole(file):
        features = extract_features(extractor, batches, callbacks, distribution)
        if distribution.is_chief:
            write_array(file, features.shape, [features])
        distribution.barrier(f"{file.name} is written")


class FeatureBatches(keras.utils.PyDataset):  # type: ignore[misc]
    """Batches of the features in a file, of one epoch, in its own order; see `ImageBatches`.

    Attributes:
        count: Of the images.
    """

    def __init__(
        self,
        file: Path,
        width: int,
        targets: Targets,
        weights: SampleWeights,
        batch_size: int,
        seed: int,
        epoch: int,
        shard: BatchShard | None = None,
    ) -> None:
        super().__init__()
        self._file = file
        self._width = width
        self._targets = targets
        self._weights = weights
        self._batch_size = batch_size
        self._seed = seed
        self._epoch = epoch
        self._shard = shard or BatchShard()
        self.count = len(targets)

    def __len__(self) -> int:
        return self._shard.batches(self.count, self._batch_size)

    def __getitem__(self, index: int) -> tuple[Features, Targets, SampleWeights]:
        """Returns features of shape (N, W), targets of shape (N, C) and weights of shape (N,)."""
        order = draw_order(self._seed, self._epoch, self.count)
        indices = self._shard.take(order, index, self._batch_size)
        return (
            np.asarray(read_array(self._file)[indices, : self._width]),
            self._targets[indices],
            self._weights[indices],
        )
