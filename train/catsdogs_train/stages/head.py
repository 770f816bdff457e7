"""The first stage: the output layer learns, on a frozen backbone."""

import logging
import time
from functools import partial

import keras

from catsdogs_edge.model.scores import Scores
from catsdogs_train.data.arrays import read_array
from catsdogs_train.network.familiarity import OutputLayer
from catsdogs_train.network.features import FeatureBatches, compute_features, make_head
from catsdogs_train.run.history import Stage
from catsdogs_train.stages.context import TrainingContext
from catsdogs_train.stages.epochs import train_epochs
from catsdogs_train.views.augmentation import PUBLISHED

_log = logging.getLogger(__name__)

HEAD_RATE = 1e-3
"""Learning rate of Adam on the output layer alone."""


def train_head(context: TrainingContext) -> None:
    """Lets the output layer learn: on features of a few views, computed once, or on new views in each epoch."""
    settings = context.settings
    optimizer = keras.optimizers.Adam(HEAD_RATE)
    if not settings.views:
        views = partial(context.make_views, recipe=PUBLISHED)
        train_epochs(context, Stage.HEAD, context.add_views(context.network), optimizer, views, context.validate)
        return
    head = make_head(context.network)
    width = head.input.shape[-1]
    count = min(settings.views, settings.head_epochs)
    _compute_features(context, count)
    files = [context.checkpoint.features_file(str(view)) for view in range(count)]

    def batches(epoch: int) -> FeatureBatches:
        arguments = context.targets, context.sample_weights, settings.batch_size, settings.seed
        return FeatureBatches(files[epoch % count], width, *arguments, epoch, context.distribution.shard)

    def validate() -> Scores:
        features = read_array(context.checkpoint.features_file("val"))  # the answer is a copy: no file stays open
        return OutputLayer(*head.get_weights()).logits(features)

    train_epochs(context, Stage.HEAD, head, optimizer, batches, validate)


def _compute_features(context: TrainingContext, views: int) -> None:
    """Asks the backbone once for each view, unless that was done before."""
    sizes = views, len(context.split.train), len(context.split.val)
    _log.info("asking the backbone once: %d x %d views to train, %d images to validate", *sizes)
    started = time.perf_counter()
    extractor = context.make_extractor()
    compute_val_features(context, extractor)
    shown = context.add_views(extractor)
    for view in range(views):
        batches = context.make_views(view, PUBLISHED, shuffle=False)
        bar = context.progress.callback(f"features of view {view + 1} of {views}")
        compute_features(shown, batches, context.checkpoint.features_file(str(view)), [bar], context.distribution)
    context.state.features_seconds += time.perf_counter() - started


def compute_val_features(context: TrainingContext, extractor: keras.Model) -> None:
    """Computes the features of the validation images, unless that was done before with this backbone."""
    file, bar = context.checkpoint.features_file("val"), context.progress.callback("features to validate on")
    compute_features(extractor, context.val_images, file, [bar], context.distribution)
