"""Reads what `catsdogs-train` left in a run folder; the files are all that the two packages share."""

import csv
import zipfile
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import keras
import msgspec

from catsdogs_edge.errors import DataError
from catsdogs_edge.model.contract import Contract, FamiliarityRule, Precision, TrainingInfo, problems_of_classes
from catsdogs_edge.output.files import sha256
from catsdogs_edge.output.json_text import from_json

RUN_VERSION = 1
"""The newest layout of `run.json` and `split.csv` that is understood here."""

_TOOLS = ("catsdogs", "tensorflow", "keras", "tf2onnx", "onnx", "onnxruntime")


class _BestEpoch(msgspec.Struct):
    val_accuracy: float


class _Run(msgspec.Struct):
    """What is read of `run.json`."""

    classes: tuple[str, ...]
    image_size: int
    temperature: float
    best_epoch: _BestEpoch
    done: bool = True
    familiarity: FamiliarityRule | None = None
    blocks: dict[str, tuple[int, ...]] = {}


@dataclass(frozen=True, slots=True)
class LabelledImage:
    """An image of a known class."""

    path: Path
    """Absolute, as it was when the run was trained."""
    label: int
    sha256: str
    """SHA-256 of its content then, in hexadecimal."""
    source: str = ""
    """Where it comes from, in a run that went on from an earlier one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFolder:
    """A finished training."""

    model: Path
    """The Keras model: uint8 RGB (N, S, S, 3) to logits (N, C) and, with a rule for it, familiarity (N,)."""
    contract: Contract
    """The contract of the fp32 file that is made from it."""
    train: tuple[LabelledImage, ...]
    """Training images: calibration may use these."""
    val: tuple[LabelledImage, ...]
    """Validation images: checks use these, calibration never does."""

    @classmethod
    def load(cls, folder: Path) -> "RunFolder":
        """Reads `run.json` and `split.csv`; raises `DataError` for what is none, not done, or of a newer catsdogs."""
        not_done = f"{folder} is not done: finish it with catsdogs-train --resume"
        if (folder / "checkpoint" / "settings.json").exists():
            raise DataError(not_done)
        for name in ("model.keras", "run.json", "split.csv"):
            if not (folder / name).is_file():
                raise DataError(f"{folder} is not a run folder: {name} is missing (catsdogs-train writes it)")
        try:
            entries = from_json((folder / "run.json").read_bytes(), dict[str, Any])
            if entries["version"] > RUN_VERSION:
                raise DataError(f"{folder} was written by a newer catsdogs: upgrade, or train again")
            run = msgspec.convert(entries, _Run)
            if not run.done:
                raise DataError(not_done)
            sets = _read_split(folder / "split.csv", run.classes)
        except DataError:  # a ValueError, too
            raise
        except (KeyError, TypeError, ValueError, csv.Error) as error:
            raise DataError(f"{folder} is a damaged run folder ({error!r}): train again") from error
        for problem in problems_of_classes(run.classes):
            raise DataError(f"{folder} {problem}")
        model = folder / "model.keras"
        contract = Contract(
            classes=run.classes,
            image_size=run.image_size,
            precision=Precision.FP32,
            keras_sha256=sha256(model),
            training=TrainingInfo(
                images=len(sets["train"]),
                val_images=len(sets["val"]),
                val_accuracy=run.best_epoch.val_accuracy,
                split_sha256=sha256(folder / "split.csv"),
            ),
            tools={name: version(name) for name in _TOOLS},
            temperature=run.temperature,
            familiarity=run.familiarity,
            blocks=run.blocks,
        )
        return cls(model=model, contract=contract, train=tuple(sets["train"]), val=tuple(sets["val"]))

    def load_network(self) -> keras.Model:
        """Opens the Keras model, whatever the user's `keras.json` says; raises `DataError` where it is damaged."""
        keras.config.set_image_data_format("channels_last")
        keras.config.set_floatx("float32")
        try:
            network = keras.saving.load_model(self.model, compile=False)
        except (OSError, KeyError, TypeError, ValueError, zipfile.BadZipFile) as error:
            raise DataError(f"{self.model} is not a model that Keras {keras.__version__} opens: {error}") from error
        expected, found = 1 if self.contract.familiarity is None else 2, len(network.outputs)
        if found != expected:
            raise DataError(f"{self.model} has {found} outputs, run.json promises {expected}: train again")
        return network


def _read_split(path: Path, classes: tuple[str, ...]) -> dict[str, list[LabelledImage]]:
    images: dict[str, list[LabelledImage]] = {"train": [], "val": []}
    with path.open(newline="", encoding="utf-8", errors="surrogateescape") as stream:
        for row in csv.DictReader(stream):
            images[row["set"]].append(
                LabelledImage(Path(row["path"]), classes.index(row["label"]), row["sha256"], row.get("source") or "")
            )
    return images
