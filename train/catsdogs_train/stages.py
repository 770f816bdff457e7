"""The stages of a training: the output layer on a frozen backbone, then, if asked for, a part of the backbone, too."""

import logging
import math
import time
from functools import partial
from typing import Any

import keras
import numpy as np

from catsdogs_edge.files import staged
from catsdogs_train.augment import PUBLISHED, STRONG
from catsdogs_train.batches import PictureBatches, make_targets, make_weights
from catsdogs_train.board import Board
from catsdogs_train.checkpoint import Checkpoint, Epoch, Stage
from catsdogs_train.dataset import Split
from catsdogs_train.failures import explained
from catsdogs_train.features import FeatureBatches, compute, split_network
from catsdogs_train.keeper import Keeper
from catsdogs_train.model import assign, build_network, to_float32, unfreeze, values
from catsdogs_train.progress import Progress
from catsdogs_train.report import Report
from catsdogs_train.settings import Precision, Settings

_log = logging.getLogger(__name__)

HEAD_RATE = 1e-3
"""Learning rate of Adam on the output layer alone."""

FINE_TUNING_RATE = 1e-4
"""Highest learning rate of AdamW on a part of the backbone."""

WARM_UP = 0.1
"""Share of the steps of fine-tuning in which the learning rate rises; then it falls along a cosine, to zero."""

WEIGHT_DECAY = 0.01
"""Of AdamW (Loshchilov and Hutter, "Decoupled Weight Decay Regularization", 2019); biases are left alone."""


class Training:
    """One training, from where it stands to its end."""

    def __init__(self, settings: Settings, split: Split, precision: Precision, checkpoint: Checkpoint) -> None:
        self.settings = settings
        self.split = split
        self.checkpoint = checkpoint
        self.standing = checkpoint.load()
        self.network = build_network(len(split.classes), settings.weights, settings.image_size, precision)
        self.report = Report(settings, split, precision)
        self.board = Board(settings.out) if settings.tensorboard else None
        self.bar = Progress()
        self.targets = make_targets(split.train, len(split.classes))
        self.weights = make_weights(split.train, len(split.classes), balance=settings.balance)
        self.truth = np.array([sample.label for sample in split.val], np.int64)
        self.batches = partial(PictureBatches, image_size=settings.image_size, batch_size=settings.batch_size)
        self.val_batches = self.batches(split.val, make_targets(split.val, len(split.classes)))
        self.watched = [self.val_batches]

    def run(self) -> Epoch:
        """Trains what is left to train, and ends the run folder."""
        if self.standing.history:
            done = self.standing.history[-1]
            _log.info("going on after epoch %d (%s)", done.epoch, done.stage.value)
        with self.bar, explained(self.watched, self.settings.batch_size):
            if not self._has_ended(Stage.HEAD):
                self._train_head()
            if self.settings.fine_tune_epochs and not self._has_ended(Stage.FINE_TUNING):
                self._fine_tune()
        if self.standing.history[-1].stage is Stage.FINE_TUNING:
            unfreeze(self.network, self.settings.unfreeze)
        assign(self.network.trainable_variables, self.standing.best_weights)
        with staged(self.settings.out) as stage:
            self.report.finish(stage, self.standing, to_float32(self.network))
        self.checkpoint.remove()
        return self.standing.history[self.standing.best]

    def _has_ended(self, stage: Stage) -> bool:
        if not self.standing.history:
            return False
        last = self.standing.history[-1]
        return list(Stage).index(last.stage) > list(Stage).index(stage) or (last.stage is stage and self.standing.over)

    def _train_head(self) -> None:
        """Lets the output layer learn: on features of a few views, computed once, or on new views in each epoch."""
        settings, done = self.settings, len(self.standing.history)
        if settings.views:
            extractor, learner = split_network(self.network)
            views, val_features = self._compute_features(extractor)
            arguments = self.targets, self.weights, settings.batch_size, settings.seed, done
            batches: keras.utils.PyDataset = FeatureBatches(views, *arguments)
            validate = partial(learner.predict, val_features, batch_size=settings.batch_size, verbose=0)
        else:
            learner = self.network
            batches = self._training_batches(view=done, recipe=PUBLISHED, shuffle=True)
            validate = partial(learner.predict, self.val_batches, callbacks=[self.bar.watch("validating")], verbose=0)
        optimizer = keras.optimizers.Adam(HEAD_RATE)
        keeper = Keeper(self, Stage.HEAD, settings.epochs, validate, write_each=not settings.views)
        self._fit(learner, batches, optimizer, keeper, smoothing=0.0)

    def _compute_features(self, extractor: keras.Model) -> tuple[list[Any], Any]:
        """Asks the backbone once for each view."""
        settings = self.settings
        count = min(settings.views, settings.epochs)
        _log.info(
            "asking the backbone once: %d x %d views to train, %d pictures to validate",
            count, len(self.split.train), len(self.split.val),
        )  # fmt: skip
        started = time.perf_counter()
        bar = [self.bar.watch("features to validate on")]
        val_features = compute(extractor, self.val_batches, self.checkpoint.features("val"), bar)
        views = []
        for view in range(count):
            batches = self._training_batches(view=view, recipe=PUBLISHED)
            bar = [self.bar.watch(f"features of view {view + 1} of {count}")]
            views.append(compute(extractor, batches, self.checkpoint.features(str(view)), bar))
        self.report.features_seconds = time.perf_counter() - started
        return views, val_features

    def _fine_tune(self) -> None:
        """Lets a part of the backbone learn, at a low rate."""
        settings = self.settings
        resumed = self.standing.history[-1].stage is Stage.FINE_TUNING
        if not resumed:
            assign(self.network.trainable_variables, self.standing.best_weights)
        unfreeze(self.network, settings.unfreeze)
        if not resumed:
            self.standing.best_weights = values(self.network.trainable_variables)
        done = sum(epoch.stage is Stage.FINE_TUNING for epoch in self.standing.history)
        batches = self._training_batches(view=settings.epochs + done, recipe=STRONG, shuffle=True, mixup=settings.mixup)
        steps = settings.fine_tune_epochs * len(batches)
        warm_up = math.ceil(WARM_UP * steps)
        rate = keras.optimizers.schedules.CosineDecay(
            FINE_TUNING_RATE / warm_up,
            max(steps - warm_up, 1),
            warmup_target=FINE_TUNING_RATE,
            warmup_steps=warm_up,
        )
        optimizer = keras.optimizers.AdamW(rate, weight_decay=WEIGHT_DECAY)
        optimizer.exclude_from_weight_decay(var_names=["bias"])
        validate = partial(self.network.predict, self.val_batches, callbacks=[self.bar.watch("validating")], verbose=0)
        keeper = Keeper(self, Stage.FINE_TUNING, settings.fine_tune_epochs, validate, write_each=True)
        self._fit(self.network, batches, optimizer, keeper, smoothing=settings.label_smoothing)

    def _training_batches(self, **arguments: Any) -> PictureBatches:
        batches = self.batches(
            self.split.train, self.targets, weights=self.weights, seed=self.settings.seed, **arguments
        )
        self.watched.append(batches)
        return batches

    def _fit(
        self,
        learner: keras.Model,
        batches: keras.utils.PyDataset,
        optimizer: keras.optimizers.Optimizer,
        keeper: Keeper,
        smoothing: float,
    ) -> None:
        """Trains the epochs of a stage that are left."""
        loss = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=smoothing)
        learner.compile(optimizer=optimizer, loss=loss, metrics=["accuracy"])
        learner.optimizer.build(learner.trainable_variables)
        keeper.take_up(learner)
        learner.fit(
            batches,
            epochs=keeper.epochs,
            initial_epoch=keeper.done,
            callbacks=[self.bar.watch(keeper.stage.value), keeper],
            verbose=0,
            shuffle=False,  # the batches draw their own order; Keras' cannot be taken up
        )
        assign(learner.trainable_variables, self.standing.best_weights)
        if not keeper.write_each:  # epochs on features take no time, writing a model each time would
            with staged(self.settings.out) as stage:
                self.report.write(stage, self.standing, to_float32(self.network))
