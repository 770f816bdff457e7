"""Writes what a run leaves behind beside the model: figures, plots, and how it came about."""

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

from catsdogs_edge.model.scores import softmax
from catsdogs_edge.output.files import write_errors
from catsdogs_train.data.split import Split
from catsdogs_train.network.familiarity import THRESHOLD, FamiliarityFit
from catsdogs_train.network.resnet import get_backbone
from catsdogs_train.network.structure import describe_blocks
from catsdogs_train.network.temperature import fit_temperature
from catsdogs_train.run.contact_sheets import find_wrong, plot_views, plot_worst
from catsdogs_train.run.history import TrainingState
from catsdogs_train.run.plots import plot_confusion, plot_curves, plot_familiarity, plot_reliability
from catsdogs_train.run.report import Outcome, ReportData, write_report
from catsdogs_train.run.tables import ASIDE, write_csv, write_split
from catsdogs_train.settings import ComputeDtype, Settings

SURE = 0.95
"""Least probability of another class by which a training image is listed: its label may be wrong."""

_CURVES_EVERY = 10.0  # seconds
_OPTIONAL = (ASIDE, "changes.csv", "disagreements.csv", "familiarity.png", "worst.png")

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
        self._precision = precision
        self._settings = settings
        self._split = split
        self._fingerprint = fingerprint
        self._outcome = Outcome()
        self._is_done = False
        self._blocks: dict[str, list[int]] = {}
        self._curves_drawn = -math.inf
        self._truth = np.array([sample.label for sample in split.val], np.int64)

    def clear(self) -> None:
        """Removes what a training before this one left here, and this one may not write: it would seem its own."""
        with write_errors(self._settings.out):
            for name in _OPTIONAL:
                (self._settings.out / name).unlink(missing_ok=True)

    def write(self, folder: Path, state: TrainingState, network: keras.Model | None) -> None:
        """Writes `run.json`, `split.csv` and the like, `quarantine.csv`, `history.csv`, `curves.png`, `model.keras`.

        Curves are drawn every ten seconds at most: it takes half a second. `network` is that of the best epoch; None
        where its file is there already.
        """
        if network is not None:
            network.save(folder / "model.keras")
        split, outcome, backend = self._split, self._outcome, keras.backend.backend()
        run = {
            "version": RUN_VERSION,
            "done": self._is_done,
            "written": datetime.now(UTC).isoformat(timespec="seconds"),
            "classes": split.classes,
            "image_size": self._settings.input_size,
            "temperature": self._temperature(state),
            "familiarity": _describe_familiarity(outcome.familiarity),
            "blocks": self._blocks,
            "teacher": outcome.comparison.figures() if outcome.comparison else None,
            "changes": outcome.changes.figures() if outcome.changes else None,
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
        write_split(folder, split)
        bad = [(item.path.resolve(), item.reason) for item in split.quarantine]
        write_csv(folder / "quarantine.csv", ("path", "reason"), bad)
        epochs = [msgspec.to_builtins(epoch) for epoch in state.history]
        write_csv(folder / "history.csv", tuple(epochs[0]), [tuple(epoch.values()) for epoch in epochs])
        if time.monotonic() - self._curves_drawn > _CURVES_EVERY:
            plot_curves(state.history, state.best, folder / "curves.png")
            self._curves_drawn = time.monotonic()

    def finish(self, folder: Path, state: TrainingState, network: keras.Model, outcome: Outcome) -> None:
        """Writes all of it: also `report.md` with its plots, and `worst.csv`."""
        self._outcome, self._is_done = outcome, True
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
        if outcome.train_probabilities is not None:
            wrong += find_wrong(self._split.train, outcome.train_probabilities, classes, "train", SURE)
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
        write_csv(folder / "worst.csv", ("path", "label", "answer", "probability", "set", "sha256"), rows)
        plot_worst(wrong, network, classes, self._settings.input_size, folder / "worst.png")
        if familiarity := outcome.familiarity:
            plot_familiarity(familiarity.val_scores, familiarity.outlier_scores, folder / "familiarity.png")
        if outcome.comparison:
            rows = self._differing(outcome.comparison.differing())
            write_csv(folder / "disagreements.csv", ("path", "label", "teacher", "student"), rows)
        if outcome.changes:
            rows = self._differing(outcome.changes.differing())
            write_csv(folder / "changes.csv", ("path", "label", "before", "after"), rows)
        write_report(folder, ReportData(self._settings, self._split, state, temperature, probabilities, outcome))

    def _differing(self, images: Iterable[tuple[int, tuple[int, int, int]]]) -> list[tuple[object, ...]]:
        """Returns the path of each validation image, and the names of three classes."""
        classes, val = self._split.classes, self._split.val
        return [(val[index].path.resolve(), *(classes[label] for label in labels)) for index, labels in images]

    def _temperature(self, state: TrainingState) -> float:
        return fit_temperature(state.best_logits, self._truth)


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
