"""What happens between two epochs: validation, and writing down how far the training has come."""

import logging
import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from catsdogs_edge.errors import DataError
from catsdogs_edge.files import staged
from catsdogs_edge.metrics import log_loss
from catsdogs_edge.scores import Scores, softmax
from catsdogs_train.checkpoint import Epoch, Stage
from catsdogs_train.model import assign, to_float32, values

if TYPE_CHECKING:
    from catsdogs_train.stages import Training

_log = logging.getLogger(__name__)


class Keeper(keras.callbacks.Callback):  # type: ignore[misc]
    """Validates after each epoch, remembers the best, and writes down how far the training has come."""

    def __init__(
        self, training: "Training", stage: Stage, epochs: int, validate: Callable[[], Scores], *, write_each: bool
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
            assign(learner.trainable_variables, self._training.standing.weights)
            assign(learner.optimizer.variables, self._training.standing.optimizer)

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
        if not math.isfinite(done.loss + done.val_loss):
            raise DataError(
                f"the loss of epoch {done.epoch} is not a number: the weights of --weights are no ImageNet weights, or "
                "--precision is too low; what was trained before is kept"
            )
        is_best = not standing.history or done.is_better_than(standing.history[standing.best])
        standing.history.append(done)
        standing.weights = values(self.model.trainable_variables)
        standing.optimizer = values(self.model.optimizer.variables)
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
