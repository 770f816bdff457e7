"""Keeps what a training needs to go on after `kill -9`, in one folder that is removed when it is done."""

import json
import shutil
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from catsdogs_edge.errors import DataError, OutputError
from catsdogs_edge.files import make_folder, staged_file
from catsdogs_edge.scores import Scores

Arrays: TypeAlias = list[NDArray[Any]]
"""Values of variables, in the order in which Keras lists them."""


class Stage(StrEnum):
    """What is being trained."""

    HEAD = "head"
    """The output layer, on a frozen backbone."""
    FINE_TUNING = "fine-tuning"
    """A part of the backbone, too."""


@dataclass(frozen=True, slots=True)
class Epoch:
    """Figures of one epoch."""

    epoch: int
    """Counted from 1, through all stages."""
    stage: Stage
    """What was trained."""
    accuracy: float
    """Share of right answers on augmented training pictures, 0 to 1, averaged while the network learned."""
    loss: float
    """Mean cross-entropy on the same, in nats, with what smoothing, mixing and class weights do to it."""
    val_accuracy: float
    """Share of right answers on the validation pictures, 0 to 1."""
    val_loss: float
    """Mean cross-entropy on the validation pictures, in nats."""
    seconds: float
    """Wall time, validation included."""
    pictures_per_second: float
    """Training pictures, or features of them, while learning; validation is not in it."""

    def describe(self) -> str:
        """Says it in one line."""
        return (
            f"accuracy {self.accuracy:.2%}, loss {self.loss:.4f}; "
            f"validation accuracy {self.val_accuracy:.2%}, loss {self.val_loss:.4f}; {self.seconds:.0f} s"
        )

    def is_better_than(self, other: "Epoch") -> bool:
        """More right answers in validation, or as many with less loss."""
        return (self.val_accuracy, -self.val_loss) > (other.val_accuracy, -other.val_loss)


@dataclass(slots=True)
class Standing:
    """How far a training has come: all that does not follow from its settings."""

    history: list[Epoch] = field(default_factory=list)
    """Epochs that are done."""
    best: int = 0
    """Index of the best of them."""
    over: bool = False
    """Whether the stage of the last one has ended."""
    weights: Arrays = field(default_factory=list)
    """Of the variables that the stage trains."""
    optimizer: Arrays = field(default_factory=list)
    """The optimizer's variables, its count of steps among them."""
    best_weights: Arrays = field(default_factory=list)
    """As `weights`, after the best epoch."""
    best_logits: Scores = field(default_factory=lambda: np.empty((0, 0), np.float32))
    """What the network of the best epoch answered to the validation pictures, shape (N, C)."""


_ARRAYS = ("weights", "optimizer", "best_weights")


class Checkpoint:
    """The folder `checkpoint` in a run folder.

    Args:
        run: The run folder; need not exist.
    """

    def __init__(self, run: Path) -> None:
        self.folder = run / "checkpoint"
        self._promise = self.folder / "settings.json"
        self._standing = self.folder / "standing.npz"

    @property
    def exists(self) -> bool:
        """Whether a training was begun here and not ended."""
        return self._promise.exists()

    def begin(self, promise: Mapping[str, Any]) -> None:
        """Starts, or sees to it that what goes on is the same training.

        Args:
            promise: All that decides how a training ends, by name; JSON.

        Raises:
            DataError: The training that was begun here is another one.
            OutputError: The folder cannot be written.
        """
        if not self.exists:
            make_folder(self.folder)
            with staged_file(self._promise) as path:
                path.write_text(json.dumps(promise, indent=2) + "\n", encoding="utf-8")
            return
        try:
            begun = json.loads(self._promise.read_text(encoding="utf-8"))
            differing = {name: begun.get(name) for name, value in promise.items() if begun.get(name) != value}
        except (ValueError, AttributeError) as error:
            raise DataError(f"{self._promise} is damaged ({error}): remove {self.folder}, and train anew") from error
        if differing:
            name, value = next(iter(differing.items()))
            raise DataError(
                f"what was begun in {self.folder.parent} had {name} {value}, now it is {promise[name]}: "
                "resume with what it was begun with, or choose another --out"
            )

    def load(self) -> Standing:
        """Reads how far it has come; a fresh one if no epoch is done.

        Raises:
            DataError: The file is damaged.
        """
        if not self._standing.exists():
            return Standing()
        try:
            with np.load(self._standing, allow_pickle=False) as file:
                known = json.loads(str(file["known"]))
                arrays = {name: [file[f"{name}/{place}"] for place in range(known["counts"][name])] for name in _ARRAYS}
                history = [Epoch(**(entry | {"stage": Stage(entry["stage"])})) for entry in known["history"]]
                return Standing(history, known["best"], known["over"], **arrays, best_logits=file["best_logits"])
        except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
            raise DataError(f"{self._standing} is damaged ({error}): remove {self.folder}, and train anew") from error

    def save(self, standing: Standing) -> None:
        """Writes it, whole or not at all.

        Raises:
            OutputError: It cannot be written.
        """
        arrays = {f"{name}/{place}": array for name in _ARRAYS for place, array in enumerate(getattr(standing, name))}
        known = {
            "history": [asdict(epoch) for epoch in standing.history],
            "best": standing.best,
            "over": standing.over,
            "counts": {name: len(getattr(standing, name)) for name in _ARRAYS},
        }
        with staged_file(self._standing) as path, path.open("wb") as stream:
            np.savez(stream, known=np.array(json.dumps(known)), best_logits=standing.best_logits, **arrays)

    def features(self, name: str) -> Path:
        """Names the file of some features."""
        return self.folder / f"features-{name}.npy"

    def remove(self) -> None:
        """Removes the folder: the training is done.

        Raises:
            OutputError: It cannot be removed.
        """
        try:
            shutil.rmtree(self.folder)
        except OSError as error:
            raise OutputError(f"{self.folder} cannot be removed: {error.strerror}") from error
