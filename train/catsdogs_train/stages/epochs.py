"""The loop over the epochs of a stage."""

import logging
import math
import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from catsdogs_edge.errors import DataError
from catsdogs_edge.evaluation.metrics import log_loss
from catsdogs_edge.model.scores import Scores, softmax
from catsdogs_train.network.features import FeatureBatches
from catsdogs_train.network.weights import assign, values
from catsdogs_train.run.history import Epoch, Stage
from catsdogs_train.stages.context import TrainingContext
from catsdogs_train.views.batches import ImageBatches

_log = logging.getLogger(__name__)


_LEAST_PATIENCE, _PATIENT_STEPS = 5, 100  # epochs, and steps, without a better one until the output layer is done


class _LabelledAccuracy(keras.metrics.CategoricalAccuracy):  # type: ignore[misc]
    """Share of right answers to images with a label: others are of neither, or a teacher alone says what they are."""

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        has_label = ops.max(y_true, axis=-1) > 1 / y_true.shape[-1] + keras.config.epsilon()
        super().update_state(y_true, y_pred, sample_weight=ops.cast(has_label, "float32"))


def train_epochs(
    context: TrainingContext,
    stage: Stage,
    learner: keras.Model,
    optimizer: keras.optimizers.Optimizer,
    batches: Callable[[int], ImageBatches | FeatureBatches],
    validate: Callable[[], Scores],
) -> None:
    """Trains the epochs of a stage that are left, writes down each of them, and keeps the best weights.

    Not Keras' own callbacks: `TerminateOnNaN` would fetch the loss from the GPU after each step, `BackupAndRestore`
    knows neither the best epoch nor the history, and writes them apart; here one file holds all of it.

    Args:
        context: Of the training.
        stage: Which.
        learner: What is trained: the network, or its output layer.
        optimizer: A new one.
        batches: Makes those of an epoch of the stage, counted from 0.
        validate: Returns logits for the validation images, shape (N, C).
    """
    settings, state = context.settings, context.state
    is_head = stage is Stage.HEAD
    epochs = settings.head_epochs if is_head else settings.tuning_epochs
    later_epochs = settings.tuning_epochs if is_head else 0  # of the stage after this one
    smoothing = 0.0 if is_head else settings.label_smoothing
    loss = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=smoothing)
    learner.compile(optimizer=optimizer, loss=loss, metrics=[_LabelledAccuracy(name="accuracy")])
    optimizer = learner.optimizer  # in float16, Keras has put one that scales the loss around it
    optimizer.build(learner.trainable_variables)
    done = state.count(stage)
    if done:
        assign(learner.trainable_variables, state.weights)
        assign(optimizer.variables, state.optimizer)
    patience = _patience(context, stage)
    for number in range(done, epochs):
        bar = context.progress.callback(f"{stage.value}, epoch {number + 1} of {epochs}")
        most = len(state.history) + epochs - number + later_epochs  # with this one, if no stage ends early
        epoch, logits = _run_epoch(context, stage, learner, batches(number), validate, bar)
        _log.info("epoch %d of %d: %s", epoch.epoch, most, epoch.describe())
        _check_finite(epoch)
        is_best = state.add(epoch, values(learner.trainable_variables), values(optimizer.variables), logits)
        state.over = number + 1 == epochs or state.waited() == patience
        _write(context, epoch, is_best=is_best)
        if state.over:
            break
    assign(learner.trainable_variables, state.best_weights)


def _on_features(context: TrainingContext, stage: Stage) -> bool:
    """Returns whether a stage learns from features that were computed once: then an epoch takes no time."""
    return stage is Stage.HEAD and bool(context.settings.views)


def _patience(context: TrainingContext, stage: Stage) -> int | None:
    """Returns the epochs without a better one after which a stage ends; None for all that were asked for."""
    settings = context.settings
    if settings.patience is None and _on_features(context, stage):
        return max(_LEAST_PATIENCE, math.ceil(_PATIENT_STEPS * settings.batch_size / len(context.split.train)))
    return settings.patience


def _run_epoch(
    context: TrainingContext,
    stage: Stage,
    learner: keras.Model,
    shown: ImageBatches | FeatureBatches,
    validate: Callable[[], Scores],
    bar: keras.callbacks.Callback,
) -> tuple[Epoch, Scores]:
    """Trains one epoch; returns its figures, and the logits for the validation images, (N, C)."""
    started = time.perf_counter()
    # One call for each epoch: what is shown follows from its number. The batches have an order of their own.
    figures = learner.fit(shown, callbacks=[bar], verbose=0, shuffle=False).history
    trained = time.perf_counter() - started
    logits = validate()
    epoch = Epoch(
        epoch=len(context.state.history) + 1,
        stage=stage,
        accuracy=float(figures["accuracy"][0]),
        loss=float(figures["loss"][0]),
        val_accuracy=float(np.mean(logits.argmax(axis=1) == context.truth)),
        val_loss=log_loss(softmax(logits), context.truth),
        seconds=time.perf_counter() - started,
        images_per_second=shown.count / trained,
    )
    return epoch, logits


def _check_finite(epoch: Epoch) -> None:
    """Raises `DataError` where a loss is not a number."""
    if math.isfinite(epoch.loss + epoch.val_loss):
        return
    is_head = epoch.stage is Stage.HEAD
    reason = "the weights of --weights are no ImageNet weights" if is_head else "--fine-tune-rate is too high"
    raise DataError(
        f"the loss of epoch {epoch.epoch} is not a number: {reason}, or --precision is too low: train anew in another "
        "--out"
    )


def _write(context: TrainingContext, epoch: Epoch, *, is_best: bool) -> None:
    """Writes down an epoch."""
    if context.board:
        context.board.add(epoch)
    if context.distribution.is_chief:
        context.checkpoint.save(context.state)  # first: a run folder whose epoch is in no checkpoint has to begin anew
    if epoch.stage is Stage.DISTILLATION:  # a student is no model before it is known to be good enough
        context.write_run(None)
    elif not _on_features(context, epoch.stage):
        context.write_run(context.to_inference_model() if is_best else None)
