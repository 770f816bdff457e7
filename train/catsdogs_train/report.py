"""Writes what a run leaves behind beside the model: figures, plots, and how it came about."""

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import keras
import numpy as np

from catsdogs_edge.errors import DataError
from catsdogs_edge.files import open_csv
from catsdogs_edge.scores import softmax
from catsdogs_train.checkpoint import Epoch, Standing, check_same
from catsdogs_train.dataset import Sample, Split
from catsdogs_train.familiarity import THRESHOLD
from catsdogs_train.others import Learned
from catsdogs_train.plots import plot_confusion, plot_curves, plot_familiarity, plot_reliability
from catsdogs_train.settings import Precision, Settings
from catsdogs_train.sheets import find_wrong, plot_views, plot_worst
from catsdogs_train.summary import Summary, write_summary
from catsdogs_train.temperature import fit_temperature

RUN_VERSION = 1
"""Of `run.json` and `split.csv`; raised when a reader would misunderstand them."""


class Report:
    """Everything in a run folder but the checkpoint.

    Args:
        settings: What was asked for.
        split: The pictures.
        precision: In which the backbone is computed.
        promise: All that decides how the training ends, by name; JSON.
    """

    def __init__(self, settings: Settings, split: Split, precision: Precision, promise: Mapping[str, Any]) -> None:
        self._precision = precision
        self._settings = settings
        self._split = split
        self._promise = promise
        self._learned: Learned | None = None
        self._truth = np.array([sample.label for sample in split.val], np.int64)

    def write(self, folder: Path, standing: Standing, network: keras.Model | None) -> None:
        """Writes `run.json`, `split.csv`, `quarantine.csv`, `history.csv`, `curves.png`, and `model.keras`.

        Args:
            folder: An existing folder.
            standing: At least one epoch.
            network: Of the best epoch; None where its file is there already.
        """
        if network is not None:
            network.save(folder / "model.keras")
        split, backend = self._split, keras.backend.backend()
        run = {
            "version": RUN_VERSION,
            "written": datetime.now(UTC).isoformat(timespec="seconds"),
            "classes": split.classes,
            "image_size": self._settings.image_size,
            "temperature": self._temperature(standing),
            "familiarity": _familiarity(self._learned),
            "settings": asdict(self._settings),
            "precision": self._precision,
            "promise": self._promise,
            "pictures": {"train": len(split.train), "val": len(split.val), "quarantined": len(split.quarantine)},
            "epochs_done": len(standing.history),
            "best_epoch": asdict(standing.history[standing.best]),
            "features_seconds": standing.features_seconds,
            "backend": backend,
            "versions": {name: version(name) for name in ("catsdogs", "keras", backend, "numpy")},
        }
        text = json.dumps(run, indent=2, default=str)
        (folder / "run.json").write_text(text + "\n", encoding="utf-8")
        rows = [*_split_rows("train", split.train, split.classes), *_split_rows("val", split.val, split.classes)]
        _write_csv(folder / "split.csv", ("set", "label", "path", "sha256"), rows)
        bad = [(item.path.resolve(), item.reason) for item in split.quarantine]
        _write_csv(folder / "quarantine.csv", ("path", "reason"), bad)
        columns = tuple(field.name for field in fields(Epoch))
        _write_csv(folder / "history.csv", columns, [tuple(asdict(epoch).values()) for epoch in standing.history])
        plot_curves(standing.history, standing.best, folder / "curves.png")

    def finish(self, folder: Path, standing: Standing, network: keras.Model, learned: Learned | None) -> None:
        """Writes all of it: also `report.md` with its plots, and `worst.csv`.

        Args:
            folder: An existing folder.
            standing: At least one epoch.
            network: Of the best epoch.
            learned: What its second output is, if it has one.
        """
        self._learned = learned
        self.write(folder, standing, network)
        temperature = self._temperature(standing)
        probabilities = softmax(standing.best_logits / np.float32(temperature))
        classes = self._split.classes
        plot_confusion(probabilities, self._truth, classes, folder / "confusion.png")
        plot_reliability(standing.best_logits, self._truth, temperature, folder / "reliability.png")
        plot_views(self._settings, self._split, folder / "views.png")
        wrong = find_wrong(self._split.val, probabilities, classes)
        rows = [(item.sample.path.resolve(), item.label, item.answer, f"{item.probability:.6f}") for item in wrong]
        _write_csv(folder / "worst.csv", ("path", "label", "answer", "probability"), rows)
        plot_worst(wrong, folder / "worst.png")
        if learned:
            plot_familiarity(learned.val_scores, learned.other_scores, folder / "familiarity.png")
        write_summary(folder, Summary(self._settings, self._split, standing, temperature, probabilities, learned))

    def _temperature(self, standing: Standing) -> float:
        return fit_temperature(standing.best_logits, self._truth)


def read_best(folder: Path, promise: Mapping[str, Any]) -> Epoch:
    """Reads the figures of the best epoch of a run that is done.

    Args:
        folder: Of the run.
        promise: All that decides how it ends, as it is now.

    Raises:
        DataError: `run.json` is missing or damaged, or the run is another one.
    """
    path = folder / "run.json"
    try:
        run = json.loads(path.read_text(encoding="utf-8"))
        begun, best = dict(run["promise"]), Epoch.from_json(run["best_epoch"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} cannot be read ({error!r}): choose another --out") from error
    check_same(begun, promise, folder)
    return best


def _familiarity(learned: Learned | None) -> dict[str, Any] | None:
    """Gives what an export needs to know about the network's second output, and how good it is."""
    if learned is None:
        return None
    return {
        "threshold": THRESHOLD,
        "keep": learned.keep,
        "method": learned.detector.method,
        "others": learned.others,
        "others_refused": learned.refused,
    }


def _split_rows(name: str, samples: Sequence[Sample], classes: Sequence[str]) -> list[tuple[str, ...]]:
    return [(name, classes[sample.label], str(sample.path.resolve()), sample.sha256) for sample in samples]


def _write_csv(path: Path, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    with open_csv(path) as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
