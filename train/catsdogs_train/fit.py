"""Trains the output layer on a frozen backbone and keeps the run folder up to date."""

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np

from catsdogs_edge.errors import DataError, OutputError
from catsdogs_edge.files import check_writable, staged
from catsdogs_train.batches import PictureBatches
from catsdogs_train.dataset import Split, make_split
from catsdogs_train.features import FeatureBatches, compute, split_network
from catsdogs_train.model import IMAGE_SIZE, build_network, check_weights
from catsdogs_train.progress import Progress
from catsdogs_train.report import Epoch, Settings, write_report

_log = logging.getLogger(__name__)

LEARNING_RATE = 1e-3
"""Of Adam, on the output layer alone."""


_NAMED = 5
"""Files that are left out and named on the terminal."""


def train(settings: Settings) -> Epoch:
    """Trains a classifier and writes its run folder after every epoch.

    Args:
        settings: What to train on, how, and where to.

    Returns:
        The figures of the last epoch.

    Raises:
        DataError: The pictures or the weights cannot be used.
        OutputError: `settings.out` holds a run already, or cannot be written.
    """
    if (settings.out / "model.keras").exists():
        raise OutputError(f"{settings.out} holds a trained model already: choose another --out, or remove it")
    check_writable(settings.out)  # better to hear it now than after the first epoch
    check_weights(settings.weights)
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

    network = build_network(len(split.classes), settings.weights)
    keeper = _RunKeeper(network, settings, split)
    val_batches = PictureBatches(split.val, IMAGE_SIZE, settings.batch_size)
    with Progress() as progress, _naming_pictures([val_batches]) as watched:
        if settings.views:
            _fit_on_features(network, settings, split, val_batches, watched, [progress, keeper])
        else:
            batches = PictureBatches(split.train, IMAGE_SIZE, settings.batch_size, seed=settings.seed, shuffle=True)
            watched.append(batches)
            _compile(network)
            network.fit(
                batches,
                validation_data=val_batches,
                epochs=settings.epochs,
                callbacks=[progress, keeper],
                verbose=0,
            )
    return keeper.history[-1]


def _fit_on_features(
    network: keras.Model,
    settings: Settings,
    split: Split,
    val_batches: PictureBatches,
    watched: list[PictureBatches],
    callbacks: Sequence[keras.callbacks.Callback],
) -> None:
    """Computes the features of all views once, and lets the output layer learn from them."""
    extractor, head = split_network(network)
    progress, *_ = callbacks
    count = min(settings.views, settings.epochs)
    _log.info(
        "asking the backbone once: %d x %d views to train, %d pictures to validate",
        count, len(split.train), len(split.val),
    )  # fmt: skip
    val_features = compute(extractor, val_batches, [progress])
    views = []
    for view in range(count):
        batches = PictureBatches(split.train, IMAGE_SIZE, settings.batch_size, seed=settings.seed, view=view)
        watched.append(batches)
        views.append(compute(extractor, batches, [progress]))
    _compile(head)
    head.fit(
        FeatureBatches(views, split.train, settings.batch_size, settings.seed),
        validation_data=(val_features, np.array([sample.label for sample in split.val], np.int32)),
        epochs=settings.epochs,
        callbacks=list(callbacks),
        verbose=0,
    )


def _compile(model: keras.Model) -> None:
    model.compile(
        optimizer=keras.optimizers.Adam(LEARNING_RATE),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )


@contextmanager
def _naming_pictures(batches: list[PictureBatches]) -> Iterator[list[PictureBatches]]:
    """Names the picture when reading one is what broke the training off, whatever the backend makes of it."""
    try:
        yield batches
    except Exception:
        failure = next((item.failure for item in batches if item.failure), None)
        if failure is None:
            raise
        raise DataError(f"a picture is gone or has changed since the start: {failure}") from failure


class _RunKeeper(keras.callbacks.Callback):  # type: ignore[misc]
    """Writes the whole run folder after each epoch, so that an interrupted training is not lost."""

    def __init__(self, network: keras.Model, settings: Settings, split: Split) -> None:
        super().__init__()
        self.history: list[Epoch] = []
        self._network = network
        self._settings = settings
        self._split = split
        self._started = 0.0

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Starts the clock."""
        self._started = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Writes everything anew."""
        figures = {name: float(value) for name, value in (logs or {}).items()}
        done = Epoch(epoch + 1, seconds=time.perf_counter() - self._started, **figures)
        self.history.append(done)
        _log.info("epoch %d of %d: %s", done.epoch, self._settings.epochs, done.describe())
        with staged(self._settings.out) as stage:
            self._network.save(stage / "model.keras")
            write_report(stage, self._settings, self._split, self.history)
