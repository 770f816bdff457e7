"""Writes what a run leaves behind beside the model: figures, plots, and how it came about."""

import csv
import json
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import keras
import msgspec
import numpy as np
from msgspec import structs

from catsdogs_edge.errors import DataError
from catsdogs_edge.model.scores import Scores, softmax
from catsdogs_edge.output.json_text import from_json
from catsdogs_train.data.split import Sample, Split
from catsdogs_train.network.familiarity import THRESHOLD, FamiliarityFit
from catsdogs_train.network.resnet import get_backbone
from catsdogs_train.network.structure import describe_blocks
from catsdogs_train.network.temperature import fit_temperature
from catsdogs_train.run.changes import Changes
from catsdogs_train.run.checkpoint import check_same
from catsdogs_train.run.comparison import Comparison
from catsdogs_train.run.contact_sheets import find_wrong, plot_views, plot_worst
from catsdogs_train.run.history import Epoch, TrainingState
from catsdogs_train.run.plots import plot_confusion, plot_curves, plot_familiarity, plot_reliability
from catsdogs_train.run.report import ReportData, write_report
from catsdogs_train.settings import ComputeDtype, Settings

SURE = 0.95
"""Least probability of another class by which a training image is listed: its label may be wrong."""

_CURVES_EVERY = 10.0  # seconds

RUN_VERSION = 1
"""Version of `run.json` and `split.csv`, which grows when a reader would misunderstand them."""


class RunFolderWriter:
    """Writes everything in a run folder but the checkpoint."""

    def __init__(
        self,
        settings: Settings,
        split: Split,
        precision: ComputeDtype,
        fingerprint: Mapping[str, Any],
        other_folders: Sequence[Path] = (),
    ) -> None:
        self._other_folders = other_folders
        self._changes: Changes | None = None
        self._precision = precision
        self._settings = settings
        self._split = split
        self._fingerprint = fingerprint
        self._familiarity: FamiliarityFit | None = None
        self._comparison: Comparison | None = None
        self._blocks: dict[str, list[int]] = {}
        self._curves_drawn = -math.inf
        self._truth = np.array([sample.label for sample in split.val], np.int64)

    def write(self, folder: Path, state: TrainingState, network: keras.Model | None) -> None:
        """Writes `run.json`, `split.csv`, `quarantine.csv`, `history.csv`, `curves.png`, and `model.keras`.

        Curves are drawn every ten seconds at most: it takes half a second. `network` is that of the best epoch; None
        where its file is there already.
        """
        if network is not None:
            network.save(folder / "model.keras")
        split, backend = self._split, keras.backend.backend()
        run = {
            "version": RUN_VERSION,
            "written": datetime.now(UTC).isoformat(timespec="seconds"),
            "classes": split.classes,
            "image_size": self._settings.image_size,
            "temperature": self._temperature(state),
            "familiarity": _describe_familiarity(self._familiarity),
            "blocks": self._blocks,
            "teacher": self._comparison.figures() if self._comparison else None,
            "changes": self._changes.figures() if self._changes else None,
            "other_folders": [str(folder.resolve()) for folder in self._other_folders],
            "settings": asdict(self._settings),
            "precision": self._precision,
            "fingerprint": self._fingerprint,
            "pictures": {"train": len(split.train), "val": len(split.val), "quarantined": len(split.quarantine)},
            "epochs_done": len(state.history),
            "best_epoch": msgspec.to_builtins(state.history[state.best]),
            "features_seconds": state.features_seconds,
            "backend": backend,
            "versions": {name: version(name) for name in ("catsdogs", "keras", backend, "numpy")},
        }
        text = json.dumps(run, indent=2, default=str)
        (folder / "run.json").write_text(text + "\n", encoding="utf-8")
        write_split(folder / "split.csv", split)
        bad = [(item.path.resolve(), item.reason) for item in split.quarantine]
        _write_csv(folder / "quarantine.csv", ("path", "reason"), bad)
        epochs = [msgspec.to_builtins(epoch) for epoch in state.history]
        _write_csv(folder / "history.csv", tuple(epochs[0]), [tuple(epoch.values()) for epoch in epochs])
        if time.monotonic() - self._curves_drawn > _CURVES_EVERY:
            plot_curves(state.history, state.best, folder / "curves.png")
            self._curves_drawn = time.monotonic()

    def finish(
        self,
        folder: Path,
        state: TrainingState,
        network: keras.Model,
        familiarity: FamiliarityFit | None,
        comparison: Comparison | None = None,
        changes: Changes | None = None,
        train_probabilities: Scores | None = None,
    ) -> None:
        """Writes all of it: also `report.md` with its plots, and `worst.csv`.

        `comparison` is with a teacher, `changes` are against an earlier run. `train_probabilities` (N, C) are what
        others say of each training image.
        """
        self._familiarity, self._comparison, self._changes = familiarity, comparison, changes
        self._blocks = describe_blocks(get_backbone(network))
        self._curves_drawn = -math.inf  # these are the last
        self.write(folder, state, network)
        temperature = self._temperature(state)
        probabilities = softmax(state.best_logits / np.float32(temperature))
        classes = self._split.classes
        plot_confusion(probabilities, self._truth, classes, folder / "confusion.png")
        plot_reliability(state.best_logits, self._truth, temperature, folder / "reliability.png")
        plot_views(self._settings, self._split, folder / "views.png")
        wrong = find_wrong(self._split.val, probabilities, classes)
        if train_probabilities is not None:
            wrong += find_wrong(self._split.train, train_probabilities, classes, "train", SURE)
            wrong.sort(key=lambda item: -item.probability)
        rows: list[tuple[object, ...]] = [
            (
                item.sample.path.resolve(),
                item.label,
                item.answer,
                f"{item.probability:.6f}",
                item.part,
                item.sample.sha256,
            )
            for item in wrong
        ]
        _write_csv(folder / "worst.csv", ("path", "label", "answer", "probability", "set", "sha256"), rows)
        plot_worst(wrong, network, classes, self._settings.image_size, folder / "worst.png")
        if familiarity:
            plot_familiarity(familiarity.val_scores, familiarity.outlier_scores, folder / "familiarity.png")
        if comparison:
            rows = self._differing(comparison.differing())
            _write_csv(folder / "disagreements.csv", ("path", "label", "teacher", "student"), rows)
        if changes:
            rows = self._differing(changes.differing())
            _write_csv(folder / "changes.csv", ("path", "label", "before", "after"), rows)
        data = ReportData(
            self._settings, self._split, state, temperature, probabilities, familiarity, comparison, changes
        )
        write_report(folder, data)

    def _differing(self, images: Iterable[tuple[int, tuple[int, int, int]]]) -> list[tuple[object, ...]]:
        """Returns the path of each validation image, and the names of three classes."""
        classes, val = self._split.classes, self._split.val
        return [(val[index].path.resolve(), *(classes[label] for label in labels)) for index, labels in images]

    def _temperature(self, state: TrainingState) -> float:
        return fit_temperature(state.best_logits, self._truth)


def read_best(folder: Path, fingerprint: Mapping[str, Any]) -> Epoch:
    """Reads the figures of the best epoch of a run that is done; raises `DataError` if it is another training."""
    path = folder / "run.json"
    try:
        run = from_json(path.read_bytes(), _FinishedRun)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read ({error!r}): choose another --out") from error
    check_same(run.fingerprint, fingerprint, folder)
    return run.best_epoch


class EarlierRun(msgspec.Struct, frozen=True):
    """A run that another one learns from."""

    version: int
    classes: tuple[str, ...]
    image_size: int
    settings: dict[str, Any] = {}
    other_folders: tuple[str, ...] = ()
    """Where its images of neither are; not said by runs of before."""
    folder: Path = Path()

    @property
    def model(self) -> Path:
        """Its network."""
        return self.folder / "model.keras"

    @property
    def others(self) -> list[Path]:
        """The folders with its images of neither."""
        one = self.settings.get("other")
        return [Path(name) for name in self.other_folders or ([one] if one else [])]

    def read_split(self) -> Split:
        """Reads its images; raises `DataError` where that cannot be."""
        parts: dict[str, list[Sample]] = {"train": [], "val": []}
        try:
            with (self.folder / "split.csv").open(newline="", encoding="utf-8", errors="surrogateescape") as stream:
                for row in csv.DictReader(stream):
                    label = self.classes.index(row["label"])
                    sample = Sample(Path(row["path"]), label, row["sha256"], row.get("source") or "")
                    parts[row["set"]].append(sample)
        except (OSError, KeyError, ValueError, csv.Error) as error:
            raise DataError(f"{self.folder}: split.csv cannot be read ({error!r})") from error
        return Split(self.classes, tuple(parts["train"]), tuple(parts["val"]), ())

    def check(self, classes: Sequence[str], val_hashes: Sequence[str]) -> None:
        """Checks that it can teach these classes, and learned from none of the images that judge its student.

        `val_hashes` are the SHA-256 of those. Raises `DataError`.
        """
        if self.classes != tuple(classes):
            ours, theirs = ", ".join(classes), ", ".join(self.classes)
            raise DataError(f"--teacher {self.folder} has the classes {theirs}, DATA has {ours}, expected the same")
        learned = {sample.sha256 for sample in self.read_split().train}
        if both := len(learned.intersection(val_hashes)):
            raise DataError(
                f"--teacher {self.folder} learned from {both} of the {len(val_hashes)} images that are to validate: "
                "use the DATA, --val and --seed of that run"
            )


def read_earlier(folder: Path, option: str) -> EarlierRun:
    """Reads what a run is that an option names; raises `DataError` for a folder that is none, or not done."""
    try:
        run = structs.replace(from_json((folder / "run.json").read_bytes(), EarlierRun), folder=folder)
        run.model.open("rb").close()
    except (OSError, ValueError) as error:
        reason = (
            f"{Path(error.filename).name}: {error.strerror}" if isinstance(error, OSError) else f"run.json: {error}"
        )
        raise DataError(f"{option} {folder} is not a run folder of catsdogs-train ({reason})") from error
    if run.version > RUN_VERSION:
        raise DataError(f"{option} {folder} was written by a newer catsdogs: upgrade, or train again")
    if (folder / "checkpoint" / "settings.json").exists():
        raise DataError(f"{option} {folder} is not done: finish it with --resume")
    return run


class _FinishedRun(msgspec.Struct):
    """What is read of `run.json`."""

    fingerprint: dict[str, Any]
    best_epoch: Epoch


def _describe_familiarity(fit: FamiliarityFit | None) -> dict[str, Any] | None:
    """Returns what an export needs to know about the network's second output, and how good it is."""
    if fit is None:
        return None
    return {
        "threshold": THRESHOLD,
        "keep": fit.target_recall,
        "method": fit.detector.method,
        "others": fit.outliers,
        "others_refused": fit.refused,
    }


def write_split(path: Path, split: Split) -> None:
    """Writes `split.csv`: which images train, and which validate."""
    rows = [*_split_rows("train", split.train, split.classes), *_split_rows("val", split.val, split.classes)]
    _write_csv(path, ("set", "label", "path", "sha256", "source"), rows)


def _split_rows(name: str, samples: Sequence[Sample], classes: Sequence[str]) -> list[tuple[str, ...]]:
    return [
        (name, classes[sample.label], str(sample.path.resolve()), sample.sha256, sample.source) for sample in samples
    ]


def _write_csv(path: Path, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    # A path that is not UTF-8 goes through byte for byte.
    with path.open("w", newline="", encoding="utf-8", errors="surrogateescape") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
