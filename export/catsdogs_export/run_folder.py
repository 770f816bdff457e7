"""Reads what `catsdogs-train` left in a run folder; the files are all that the two packages share."""

import csv
import hashlib
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path

import keras

from catsdogs_edge.contract import Familiarity, Training
from catsdogs_edge.errors import DataError

RUN_VERSION = 1
"""Newest layout of `run.json` and `split.csv` that is understood here."""

_DAMAGE = (KeyError, TypeError, ValueError)


@dataclass(frozen=True, slots=True)
class Picture:
    """A labelled picture."""

    path: Path
    """Absolute, as it was when the run was trained."""
    label: int
    """Index of its class."""


@dataclass(frozen=True, slots=True)
class RunFolder:
    """A finished training."""

    model: Path
    """The Keras model: uint8 RGB (N, S, S, 3) to logits (N, C) and, with a rule for it, familiarity (N,)."""
    model_sha256: str
    """Of that file, in hexadecimal."""
    classes: tuple[str, ...]
    """In the order of the output neurons."""
    image_size: int
    """Edge length of the input in pixels."""
    temperature: float
    """What the logits are divided by before the softmax."""
    familiarity: Familiarity | None
    """How to tell that a picture shows none of the classes; None where the network does not say."""
    train: tuple[Picture, ...]
    """What the model has learned from: calibration may use these."""
    val: tuple[Picture, ...]
    """What it has not learned from: checks use these, calibration never does."""
    training: Training
    """For the contract."""

    @classmethod
    def load(cls, folder: Path) -> "RunFolder":
        """Reads `run.json` and `split.csv`.

        Raises:
            DataError: The folder is not a run folder, or one of a newer catsdogs.
        """
        for name in ("model.keras", "run.json", "split.csv"):
            if not (folder / name).is_file():
                raise DataError(f"{folder} is not a run folder: {name} is missing (catsdogs-train writes it)")
        try:
            run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
            version = int(run["version"])
        except _DAMAGE as error:
            raise DataError(f"{folder}/run.json is damaged ({error!r}): train again") from error
        if version > RUN_VERSION:
            raise DataError(f"{folder} was written by a newer catsdogs: upgrade, or train again")
        try:
            classes = tuple(str(name) for name in run["classes"])
            pictures: dict[str, list[Picture]] = {"train": [], "val": []}
            with (folder / "split.csv").open(newline="", encoding="utf-8", errors="surrogateescape") as stream:
                for row in csv.DictReader(stream):
                    pictures[row["set"]].append(Picture(Path(row["path"]), classes.index(row["label"])))
            training = Training(
                pictures=len(pictures["train"]),
                val_pictures=len(pictures["val"]),
                val_accuracy=float(run["best_epoch"]["val_accuracy"]),
                split_sha256=sha256(folder / "split.csv"),
            )
            rule = run.get("familiarity")  # not in runs from before it was there
            familiarity = rule and Familiarity(rule["threshold"], rule["keep"], rule["method"], rule["others"])
            size, temperature = int(run["image_size"]), float(run["temperature"])
        except _DAMAGE as error:
            raise DataError(f"{folder} is a damaged run folder ({error!r}): train again") from error
        model = folder / "model.keras"
        sets = tuple(pictures["train"]), tuple(pictures["val"])
        return cls(model, sha256(model), classes, size, temperature, familiarity, *sets, training)

    def load_network(self) -> keras.Model:
        """Opens the Keras model.

        Raises:
            DataError: The file is damaged.
        """
        try:
            network = keras.saving.load_model(self.model, compile=False)
        except (OSError, *_DAMAGE, zipfile.BadZipFile) as error:
            raise DataError(f"{self.model} is not a model that Keras {keras.__version__} opens: {error}") from error
        expected = 1 if self.familiarity is None else 2
        if len(network.outputs) != expected:
            raise DataError(
                f"{self.model} has {len(network.outputs)} outputs, run.json promises {expected}: train again"
            )
        return network


def sha256(path: Path) -> str:
    """Gives the hash of a file in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
