"""Reads what `catsdogs-train` left in a run folder; the files are all that the two packages share."""

import csv
import json
from dataclasses import dataclass
from pathlib import Path

from catsdogs_edge.errors import DataError

RUN_VERSION = 1
"""Newest layout of `run.json` and `split.csv` that is understood here."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture of the run's split."""

    path: Path
    """Absolute, as it was when the run was trained."""
    label: int
    """Index of its class in `RunFolder.classes`."""


@dataclass(frozen=True, slots=True)
class RunFolder:
    """A finished training."""

    model: Path
    """The Keras model: uint8 RGB (N, S, S, 3) to logits (N, C)."""
    classes: tuple[str, ...]
    """In the order of the output neurons."""
    image_size: int
    """Edge length of the input in pixels."""
    train: tuple[Picture, ...]
    """What the model has learned from: calibration may use these."""
    val: tuple[Picture, ...]
    """What it has not learned from: checks use these, calibration never does."""

    @classmethod
    def load(cls, folder: Path) -> "RunFolder":
        """Reads `run.json` and `split.csv`.

        Raises:
            DataError: The folder is not a run folder, or one of a newer catsdogs.
        """
        for name in ("model.keras", "run.json", "split.csv"):
            if not (folder / name).is_file():
                raise DataError(f"{folder} is not a run folder: {name} is missing (catsdogs-train writes it)")
        damage = (KeyError, TypeError, ValueError)
        try:
            run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
            version = int(run["version"])
        except damage as error:
            raise DataError(f"{folder}/run.json is damaged ({error!r}): train again") from error
        if version > RUN_VERSION:
            raise DataError(f"{folder} was written by a newer catsdogs: upgrade, or train again")
        try:
            classes = tuple(str(name) for name in run["classes"])
            pictures: dict[str, list[Picture]] = {"train": [], "val": []}
            with (folder / "split.csv").open(newline="", encoding="utf-8") as stream:
                for row in csv.DictReader(stream):
                    pictures[row["set"]].append(Picture(Path(row["path"]), classes.index(row["label"])))
            size = int(run["image_size"])
        except damage as error:
            raise DataError(f"{folder} is a damaged run folder ({error!r}): train again") from error
        return cls(folder / "model.keras", classes, size, tuple(pictures["train"]), tuple(pictures["val"]))
