"""What a training does while the backend works: bars on standard error, where that is a terminal, and Ctrl-C."""

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

import keras
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress


class Progress:
    """Shows what is going on with the time left, and ends it on Ctrl-C; use it in a `with` block.

    A KeyboardInterrupt that is raised in a destructor is lost in Python, and TensorFlow makes another exception of one
    that is raised in its calls: so it is raised once more, at the end of the batch, or in place of that exception.
    """

    def __init__(self) -> None:
        console = Console(stderr=True)
        columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
        self.bar = RichProgress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self.is_interrupted = False
        self._before: Callable[[int, FrameType | None], Any] = signal.default_int_handler

    def callback(self, words: str) -> keras.callbacks.Callback:
        """Returns a callback for Keras that shows the batches of an epoch, or of a prediction, and what is going on."""
        return _ProgressCallback(self, words)

    def __enter__(self) -> "Progress":
        before = signal.getsignal(signal.SIGINT)
        is_main = threading.current_thread() is threading.main_thread()
        if is_main and callable(before):  # not where it is ignored
            self._before = before
            signal.signal(signal.SIGINT, self._interrupt)
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if signal.getsignal(signal.SIGINT) == self._interrupt:
            signal.signal(signal.SIGINT, self._before)
        self.bar.stop()  # also when training breaks off: it had hidden the cursor
        if self.is_interrupted and error:
            raise KeyboardInterrupt from error

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        self.is_interrupted = True
        self._before(number, frame)


class _ProgressCallback(keras.callbacks.Callback):  # type: ignore[misc]
    def __init__(self, progress: Progress, words: str) -> None:
        super().__init__()
        self._progress = progress
        self._words = words

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.on_predict_begin()

    def on_predict_begin(self, logs: dict[str, Any] | None = None) -> None:
        self._progress.bar.start()
        self._task = self._progress.bar.add_task(self._words, total=self.params["steps"])

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        if self._progress.is_interrupted:
            raise KeyboardInterrupt
        self._progress.bar.advance(self._task)

    on_predict_batch_end = on_train_batch_end

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.on_predict_end()

    def on_predict_end(self, logs: dict[str, Any] | None = None) -> None:
        self._progress.bar.remove_task(self._task)
        if not self._progress.bar.tasks:
            self._progress.bar.stop()  # so that lines can be written
