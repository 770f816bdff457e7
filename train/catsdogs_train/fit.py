"""Trains a network in stages: its output layer on a frozen backbone, then, if asked to, a part of the backbone, too."""

import hashlib
import json
import logging
import math
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np

from catsdogs_edge.errors import OutputError
from catsdogs_edge.files import check_writable, staged
from catsdogs_edge.metrics import log_loss
from catsdogs_edge.scores import Scores, softmax
from catsdogs_train.augment import PUBLISHED, STRONG
from catsdogs_train.batches import PictureBatches, make_targets, make_weights
from catsdogs_train.board import Board
from catsdogs_train.checkpoint import Arrays, Checkpoint, Epoch, Stage
from catsdogs_train.dataset import Split, make_split
from catsdogs_train.failures import explained
from catsdogs_train.features import FeatureBatches, compute, split_network
from catsdogs_train.model import build_network, check_weights, to_float32, unfreeze
from catsdogs_train.precision import choose
from catsdogs_train.progress import Progress
from catsdogs_train.report import Report, read_best
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

_NAMED = 5
"""Files that are left out and named on the terminal."""


def train(settings: Settings) -> Epoch:
    """Trains a classifier and writes its run folder.

    After every epoch, what it takes to go on is in `RUN/checkpoint`, which is removed at the end.

    Args:
        settings: What to train on, how, and where to.

    Returns:
        The figures of the best epoch, whose weights are in `model.keras`.

    Raises:
        DataError: The pictures or the weights cannot be used, or what is to be resumed is another training.
        OutputError: `settings.out` holds a run already, or cannot be written.
        MemoryShortageError: A batch does not fit into memory.
    """
    checkpoint = Checkpoint(settings.out)
    if not checkpoint.exists and (settings.out / "model.keras").exists():
        if not settings.resume:
            raise OutputError(f"{settings.out} holds a trained model already: choose another --out, or remove it")
        _log.info("%s is done already", settings.out)
        return read_best(settings.out)
    if checkpoint.exists and not settings.resume:
        raise OutputError(
            f"{settings.out} holds a training that was broken off: go on with --resume, or choose another --out"
        )
    for leftover in settings.out.glob(".catsdogs-*"):  # of a process that was killed while it wrote
        shutil.rmtree(leftover)
    check_writable(settings.out)  # better to hear it now than after the first epoch
    check_weights(settings.weights)
    precision = choose(settings.precision)
    keras.utils.set_random_seed(settings.seed)
    split = make_split(
        settings.data,
        val=settings.val,
        train_size=settings.train_size,
        val_size=settings.val_size,
        seed=settings.seed,
    )
    _log.info(
        "%d pictures to train, %d to validate; classes: %s",
        len(split.train), len(split.val), ", ".join(split.classes),
    )  # fmt: skip
    for item in split.quarantine[:_NAMED]:
        _log.info("left out: %s: %s", item.path, item.reason)
    if len(split.quarantine) > _NAMED:
        _log.info("left out: %d more; all are in quarantine.csv", len(split.quarantine) - _NAMED)
    checkpoint.begin(_promise(settings, split, precision))
    return _Training(settings, split, precision, checkpoint).run()


def _promise(settings: Settings, split: Split, precision: Precision) -> dict[str, Any]:
    """Gives all that decides how a training ends, in the words of the options."""
    free = {"data", "val", "out", "resume", "tensorboard", "precision", "weights"}
    chosen = {f"--{name.replace('_', '-')}": value for name, value in asdict(settings).items() if name not in free}
    pictures = [(sample.sha256, sample.label) for part in (split.train, split.val) for sample in part]
    weights = Path(settings.weights)
    return chosen | {
        "--precision": precision.value,
        "--weights": hashlib.sha256(weights.read_bytes()).hexdigest() if weights.is_file() else settings.weights,
        "classes": list(split.classes),
        "pictures with the hash": hashlib.sha256(json.dumps(pictures).encode()).hexdigest(),
        "the backend": keras.backend.backend(),
    }


class _Training:
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
        _assign(self.network.trainable_variables, self.standing.best_weights)
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
        keeper = _Keeper(self, Stage.HEAD, settings.epochs, validate, write_each=not settings.views)
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
            _assign(self.network.trainable_variables, self.standing.best_weights)
        unfreeze(self.network, settings.unfreeze)
        if not resumed:
            self.standing.best_weights = _values(self.network.trainable_variables)
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
        keeper = _Keeper(self, Stage.FINE_TUNING, settings.fine_tune_epochs, validate, write_each=True)
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
        keeper: "_Keeper",
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
        _assign(learner.trainable_variables, self.standing.best_weights)
        if not keeper.write_each:  # epochs on features take no time, writing a model each time would
            with staged(self.settings.out) as stage:
                self.report.write(stage, self.standing, to_float32(self.network))


class _Keeper(keras.callbacks.Callback):  # type: ignore[misc]
    """Validates after each epoch, remembers the best, and writes down how far the training has come."""

    def __init__(
        self, training: _Training, stage: Stage, epochs: int, validate: Callable[[], Scores], *, write_each: bool
    ) -> None:
        super().__init__()
        self.epochs = epochs
        self.done = sum(epoch.stage is stage for epoch in training.standing.history)
        self.write_each = write_each
        self._training = training
        self.stage = stage
        self._validate = validate
        self._started = 0.0

    def take_up(self, learner: keras.Model) -> None:
        """Puts weights and optimizer to where they stood."""
        if self.done:
            _assign(learner.trainable_variables, self._training.standing.weights)
            _assign(learner.optimizer.variables, self._training.standing.optimizer)

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Starts the clock."""
        self._started = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Validates, and writes everything anew."""
        training, standing = self._training, self._training.standing
        figures = logs or {}
        trained = time.perf_counter() - self._started
        logits = np.asarray(self._validate(), np.float32)
        done = Epoch(
            epoch=len(standing.history) + 1,
            stage=self.stage,
            accuracy=float(figures["accuracy"]),
            loss=float(figures["loss"]),
            val_accuracy=float(np.mean(logits.argmax(axis=1) == training.truth)),
            val_loss=log_loss(softmax(logits), training.truth),
            seconds=time.perf_counter() - self._started,
            pictures_per_second=len(training.split.train) / trained,
        )
        to_come = self.epochs - epoch + (training.settings.fine_tune_epochs if self.stage is Stage.HEAD else 0)
        _log.info("epoch %d of %d: %s", done.epoch, len(standing.history) + to_come, done.describe())
        is_best = not standing.history or done.is_better_than(standing.history[standing.best])
        standing.history.append(done)
        standing.weights = _values(self.model.trainable_variables)
        standing.optimizer = _values(self.model.optimizer.variables)
        if is_best:
            standing.best = len(standing.history) - 1
            standing.best_weights, standing.best_logits = standing.weights, logits
        standing.over = epoch + 1 == self.epochs or self._is_out_of_patience()
        self.model.stop_training = standing.over
        if self.write_each:
            with staged(training.settings.out) as stage:
                training.report.write(stage, standing, to_float32(training.network) if is_best else None)
        if training.board:
            training.board.add(done)
        training.checkpoint.save(standing)

    def _is_out_of_patience(self) -> bool:
        patience, standing = self._training.settings.patience, self._training.standing
        first = next(place for place, epoch in enumerate(standing.history) if epoch.stage is self.stage)
        waited = len(standing.history) - 1 - max(standing.best, first)
        return patience is not None and waited >= patience


def _values(variables: list[keras.Variable]) -> Arrays:
    return [np.array(keras.ops.convert_to_numpy(variable.value)) for variable in variables]


def _assign(variables: list[keras.Variable], values: Arrays) -> None:
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
