"""A progress bar for Keras, on standard error."""

from typing import Any

import keras
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress


class Progress(keras.callbacks.Callback):  # type: ignore[misc]
    """Shows the batches of the running epoch with the time left; use it in a `with` block.

    Where there is no terminal it shows nothing.
    """

    def __init__(self) -> None:
        super().__init__()
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
        self._task = TaskID(0)

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Starts the bar."""
        self._bar.start()
        self._task = self._bar.add_task(f"epoch {epoch + 1} of {self.params['epochs']}", total=self.params["steps"])

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Advances it."""
        self._bar.advance(self._task)

    def on_predict_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Starts the bar for features."""
        self._bar.start()
        self._task = self._bar.add_task("features", total=self.params["steps"])

    def on_predict_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Advances it."""
        self._bar.advance(self._task)

    def on_predict_end(self, logs: dict[str, Any] | None = None) -> None:
        """Removes it."""
        self._bar.remove_task(self._task)
        self._bar.stop()

    def on_test_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Says what the pause is."""
        self._bar.update(self._task, description="validating")

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Removes it."""
        self._bar.remove_task(self._task)
        self._bar.stop()

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()  # also when training breaks off: it had hidden the cursor
