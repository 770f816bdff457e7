"""Writes what a run leaves behind beside the model: figures, curves, and how it came about."""

import csv
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import keras
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from catsdogs_edge.files import open_csv
from catsdogs_train.dataset import Sample, Split
from catsdogs_train.model import IMAGE_SIZE

RUN_VERSION = 1
"""Of `run.json` and `split.csv`; raised when a reader would misunderstand them."""

# Okabe and Ito's colours, which colour-blind people can tell apart.
_COLOURS = {"training": "#0072B2", "validation": "#D55E00"}


@dataclass(frozen=True, slots=True)
class Settings:
    """What the user asked for."""

    data: tuple[Path, ...]
    """Folders or zip files of labelled pictures; see `layouts.find_all`."""
    out: Path
    """Run folder."""
    weights: str = "imagenet"
    """`imagenet`, `none`, or the path of a weights file."""
    val: Path | None = None
    """Folder to validate on; None keeps a part of `data` for that."""
    train_size: int | None = None
    """Training pictures; None takes all."""
    val_size: int | None = None
    """Validation pictures; None takes all of `val`, or about a fifth of `data`."""
    epochs: int = 10
    """Passes over the training pictures."""
    batch_size: int = 32
    """Pictures in one step."""
    views: int = 4
    """Views of each training picture whose features are computed once; 0 asks the backbone anew in each epoch."""
    seed: int = 0
    """Of the split, the order, the new layer and the augmentation."""


@dataclass(frozen=True, slots=True)
class Epoch:
    """Figures of one epoch."""

    epoch: int
    """Counted from 1."""
    accuracy: float
    """Share of right answers on augmented training pictures, 0 to 1, averaged while the network learned."""
    loss: float
    """Mean cross-entropy on the same, in nats."""
    val_accuracy: float
    """Share of right answers on the validation pictures, 0 to 1."""
    val_loss: float
    """Mean cross-entropy on the validation pictures, in nats."""
    seconds: float
    """Wall time, validation included."""

    def describe(self) -> str:
        """Says it in one line."""
        return (
            f"accuracy {self.accuracy:.2%}, loss {self.loss:.4f}; "
            f"validation accuracy {self.val_accuracy:.2%}, loss {self.val_loss:.4f}; {self.seconds:.0f} s"
        )


def write_report(folder: Path, settings: Settings, split: Split, history: Sequence[Epoch]) -> None:
    """Writes `run.json`, `split.csv`, `quarantine.csv`, `history.csv` and `curves.png`.

    Args:
        folder: An existing folder.
        settings: What was asked for.
        split: The pictures.
        history: At least one epoch.
    """
    run = {
        "version": RUN_VERSION,
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
        "classes": split.classes,
        "image_size": IMAGE_SIZE,
        "settings": asdict(settings),
        "pictures": {"train": len(split.train), "val": len(split.val), "quarantined": len(split.quarantine)},
        "epochs_done": len(history),
        "last_epoch": asdict(history[-1]),
        "backend": keras.backend.backend(),
        "versions": {name: version(name) for name in ("catsdogs", "keras", keras.backend.backend(), "numpy")},
    }
    text = json.dumps(run, indent=2, default=str)
    (folder / "run.json").write_text(text + "\n", encoding="utf-8")
    _write_csv(
        folder / "split.csv",
        ("set", "label", "path"),
        [*_split_rows("train", split.train, split.classes), *_split_rows("val", split.val, split.classes)],
    )
    bad = [(item.path.resolve(), item.reason) for item in split.quarantine]
    _write_csv(folder / "quarantine.csv", ("path", "reason"), bad)
    columns = tuple(field.name for field in fields(Epoch))
    _write_csv(folder / "history.csv", columns, [tuple(asdict(epoch).values()) for epoch in history])
    _draw_curves(history).savefig(folder / "curves.png", dpi=120)


def _split_rows(name: str, samples: Sequence[Sample], classes: Sequence[str]) -> list[tuple[str, str, str]]:
    return [(name, classes[sample.label], str(sample.path.resolve())) for sample in samples]


def _write_csv(path: Path, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    with open_csv(path) as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def _draw_curves(history: Sequence[Epoch]) -> Figure:
    """Draws accuracy and loss of both sets over the epochs."""
    figure = Figure(figsize=(9, 3.8), layout="constrained")
    FigureCanvasAgg(figure)
    accuracy, loss = figure.subplots(1, 2)
    epochs = [epoch.epoch for epoch in history]
    for axes, name, unit, form in (
        (accuracy, "accuracy", "right answers", ".2%"),
        (loss, "loss", "cross-entropy (nats)", ".4f"),
    ):
        for kind, prefix in (("training", ""), ("validation", "val_")):
            values = [getattr(epoch, prefix + name) for epoch in history]
            axes.plot(
                epochs, values, "o-", color=_COLOURS[kind], markersize=4, label=f"{kind}: {values[-1]:{form}} at last"
            )
        axes.set(title=name.capitalize(), xlabel="epoch", ylabel=unit)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
        axes.legend()
    accuracy.yaxis.set_major_formatter(PercentFormatter(1.0))
    loss.set_ylim(bottom=0)
    return figure
