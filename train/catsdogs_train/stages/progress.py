"""Bars on standard error, where that is a terminal."""

from typing import Any

import keras
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress


class Progress:
    """Shows what is going on with the time left; use it in a `with` block."""

    def __init__(self) -> None:
        console = Console(stderr=True)
        self._bar = RichProgress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )

    def callback(self, words: str) -> keras.callbacks.Callback:
        """Returns a callback for Keras that shows the batches of an epoch, or of a prediction, and what is going on."""
        return _ProgressCallback(self._bar, words)

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()  # also when training breaks off: it had hidden the cursor


class _ProgressCallback(keras.callbacks.Callback):  # type: ignore[misc]
    def __init__(self, bar: RichProgress, words: str) -> None:
        super().__init__()
        self._bar = bar
        self._words = words

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.on_predict_begin()

    def on_predict_begin(self, logs: dict[str, Any] | None = None) -> None:
        self._bar.start()
        self._task = self._bar.add_task(self._words, total=self.params["steps"])

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self._bar.advance(self._task)

    def on_predict_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self._bar.advance(self._task)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.on_predict_end()

    def on_predict_end(self, logs: dict[str, Any] | None = None) -> None:
        self._bar.remove_task(self._task)
        if not self._bar.tasks:
            self._bar.stop()  # so that lines can be written
