"""Keeps what a training needs to go on after `kill -9`, in one folder that is removed when it is done."""

import hashlib
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

from catsdogs_edge.errors import DataError
from catsdogs_edge.files import make_folder, staged_file, write_errors
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

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> "Epoch":
        """Reads what `dataclasses.asdict` made of it.

        Raises:
            TypeError: It has other fields.
            KeyError, ValueError: The stage is missing, or unknown.
        """
        return cls(**{**entry, "stage": Stage(entry["stage"])})

    def describe(self) -> str:
        """Says it in one line."""
        return (
            f"accuracy {self.accuracy:.2%}, loss {self.loss:.4f}; "
            f"validation accuracy {self.val_accuracy:.2%}, loss {self.val_loss:.4f}; {self.seconds:.0f} s"
        )

    def is_better_than(self, other: "Epoch") -> bool:
        """More right answers in validation, or as many in a later stage, or with less loss.

        Losses of two stages say nothing about each other: label smoothing makes that of fine-tuning greater.
        """
        stages = list(Stage)
        one, two = ((item.val_accuracy, stages.index(item.stage), -item.val_loss) for item in (self, other))
        return one > two


@dataclass(slots=True)
class Standing:
    """How far a training has come: all that does not follow from its settings."""

    history: list[Epoch] = field(default_factory=list)
    """Epochs that are done."""
    best: int = 0
    """Index of the best of them."""
    over: bool = False
    """Whether the stage of the last one has ended."""
    features_seconds: float = 0.0
    """Wall time of computing features."""
    weights: Arrays = field(default_factory=list)
    """Of the variables that the stage trains."""
    optimizer: Arrays = field(default_factory=list)
    """The optimizer's variables, its count of steps among them."""
    best_weights: Arrays = field(default_factory=list)
    """As `weights`, after the best epoch."""
    best_logits: Scores = field(default_factory=lambda: np.empty((0, 0), np.float32))
    """What the network of the best epoch answered to the validation pictures, shape (N, C)."""

    def count(self, stage: Stage) -> int:
        """Counts the epochs of a stage."""
        return sum(epoch.stage is stage for epoch in self.history)

    def add(self, epoch: Epoch, weights: Arrays, optimizer: Arrays, logits: Scores) -> bool:
        """Takes in an epoch.

        Args:
            epoch: Its figures.
            weights: Of the variables that its stage trains.
            optimizer: The optimizer's variables.
            logits: What the network answers to the validation pictures, shape (N, C).

        Returns:
            Whether it is the best so far.
        """
        is_best = not self.history or epoch.is_better_than(self.history[self.best])
        self.history.append(epoch)
        self.weights, self.optimizer = weights, optimizer
        if is_best:
            self.best = len(self.history) - 1
            self.best_weights, self.best_logits = weights, logits
        return is_best

    def waited(self) -> int:
        """Counts the epochs of the last stage since the best one, or, if that was in a stage before, all of them."""
        return min(len(self.history) - 1 - self.best, self.count(self.history[-1].stage))


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
        """Whether there is something to go on with."""
        return self._promise.exists() and (self._standing.exists() or any(self.folder.glob("features-*.npy")))

    def begin(self, promise: Mapping[str, Any]) -> None:
        """Starts, or sees to it that what goes on is the same training.

        Args:
            promise: All that decides how a training ends, by name; JSON.

        Raises:
            DataError: The training that was begun here is another one.
            OutputError: The folder cannot be written.
        """
        _sweep(self.folder.parent)
        _sweep(self.folder)
        if not self.exists:
            make_folder(self.folder)
            with staged_file(self._promise) as path:
                path.write_text(json.dumps(promise, indent=2) + "\n", encoding="utf-8")
            return
        try:
            begun = dict(json.loads(self._promise.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise DataError(f"{self._promise} is damaged ({error}): remove {self.folder}, and train anew") from error
        check_same(begun, promise, self.folder.parent)

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
                history = [Epoch.from_json(entry) for entry in known["history"]]
                return Standing(
                    history,
                    known["best"],
                    known["over"],
                    known["features_seconds"],
                    **arrays,
                    best_logits=file["best_logits"],
                )
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
            "features_seconds": standing.features_seconds,
            "counts": {name: len(getattr(standing, name)) for name in _ARRAYS},
        }
        with staged_file(self._standing) as path, path.open("wb") as stream:
            np.savez(stream, known=np.array(json.dumps(known)), best_logits=standing.best_logits, **arrays)

    def describe(self) -> bytes:
        """Says how far it has come, so that hosts can compare what they see."""
        files = [self._promise, self._standing]
        known = [hashlib.sha256(file.read_bytes()).hexdigest() if file.exists() else "" for file in files]
        features = sorted((file.name, file.stat().st_size) for file in self.folder.glob("features-*.npy"))
        return json.dumps([known, features]).encode()

    def features(self, name: str) -> Path:
        """Names the file of some features."""
        return self.folder / f"features-{name}.npy"

    def remove(self) -> None:
        """Removes the folder, in one step for whoever looks: the training is done.

        Raises:
            OutputError: It cannot be removed.
        """
        if self.folder.exists():
            with write_errors(self.folder):
                self.folder.rename(self.folder.with_name(".catsdogs-checkpoint"))
        _sweep(self.folder.parent)


def _sweep(folder: Path) -> None:
    """Removes what a process that was killed while it wrote, or removed, left behind."""
    for leftover in folder.glob(".catsdogs-*"):
        shutil.rmtree(leftover, ignore_errors=True)


def check_same(begun: Mapping[str, Any], promise: Mapping[str, Any], run: Path) -> None:
    """Sees to it that two trainings end the same way.

    Args:
        begun: All that decides how the first one ends, by name; from JSON.
        promise: The same of the second one.
        run: Folder of the first one.

    Raises:
        DataError: They do not.
    """
    for name, value in promise.items():
        if begun.get(name) != value:
            raise DataError(
                f"the training in {run} has {name} {begun.get(name)}, now it is {value}: "
                "resume it as it was begun, or choose another --out"
            )
