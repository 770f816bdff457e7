"""Writes figures for TensorBoard, on any backend; Keras' own callback needs TensorFlow."""

from importlib.util import find_spec
from pathlib import Path

from catsdogs_edge.errors import DataError
from catsdogs_train.run.history import Epoch


def check_tensorboard() -> None:
    """Raises `DataError` where TensorBoard is not installed."""
    if find_spec("tensorboard") is None:
        raise DataError("--tensorboard needs a package that is missing: pip install tensorboard")


class TensorBoardWriter:
    """Event files in `RUN/tensorboard`, one folder for each set, so that their curves share a diagram."""

    def __init__(self, run: Path) -> None:
        from tensorboard.summary import Writer  # noqa: PLC0415 - only for who asks for it

        self._writers = {name: Writer(str(run / "tensorboard" / name)) for name in ("training", "validation")}

    def add(self, epoch: Epoch) -> None:
        """Adds the figures of an epoch."""
        figures = {
            "training": {"accuracy": epoch.accuracy, "loss": epoch.loss, "images/s": epoch.images_per_second},
            "validation": {"accuracy": epoch.val_accuracy, "loss": epoch.val_loss},
        }
        for name, writer in self._writers.items():
            for tag, value in figures[name].items():
                writer.add_scalar(tag, value, epoch.epoch)
            writer.flush()

    def close(self) -> None:
        """Ends the files."""
        for writer in self._writers.values():
            writer.close()
