"""Draws how a training went."""

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix

from catsdogs_edge.evaluation.charts import BLUE, GREY, ORANGE, draw_confusion, draw_reliability, printable
from catsdogs_edge.evaluation.metrics import Labels
from catsdogs_edge.images.decode import RgbImage
from catsdogs_edge.model.scores import Scores, softmax
from catsdogs_train.run.history import Epoch, Stage

_COLOURS = {"training": BLUE, "validation": ORANGE}


def plot_curves(history: Sequence[Epoch], best: int, path: Path) -> None:
    """Draws accuracy and loss of both sets over the epochs to a PNG file; `best` is the index of the one kept."""
    figure = Figure(figsize=(9, 4.2), layout="constrained")
    accuracy, loss = figure.subplots(1, 2)
    epochs = [epoch.epoch for epoch in history]
    last_of_head = max((epoch.epoch for epoch in history if epoch.stage is Stage.HEAD), default=0)
    entropy = "cross-entropy (nats)"
    if history[best].stage is Stage.DISTILLATION:
        entropy += "\ntraining: and distance from the teacher"
    for axes, name, unit, form in (
        (accuracy, "accuracy", "right answers", ".2%"),
        (loss, "loss", entropy, ".4f"),
    ):
        for kind, prefix in (("training", ""), ("validation", "val_")):
            values = [getattr(epoch, prefix + name) for epoch in history]
            axes.plot(epochs, values, "o-", color=_COLOURS[kind], markersize=4, label=kind)
        kept = getattr(history[best], f"val_{name}")
        axes.plot(history[best].epoch, kept, "s", color=ORANGE, markersize=9, fillstyle="none", label="best, kept")
        if 0 < last_of_head < len(history):
            axes.axvline(last_of_head + 0.5, color=GREY, linestyle=":", label="fine-tuning begins")
        axes.set(title=f"{name.capitalize()}: {kept:{form}} in validation", xlabel="epoch", ylabel=unit)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
    figure.legend(*accuracy.get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False)
    accuracy.yaxis.set_major_formatter(PercentFormatter(1.0))
    loss.set_ylim(bottom=0)
    _save(figure, path)


def plot_confusion(probabilities: Scores, truth: Labels, classes: Sequence[str], path: Path) -> None:
    """Draws the confusion matrix of probabilities (N, C) and true classes (N,) to a PNG file."""
    edge = min(max(4.4, 0.7 * len(classes)), 14)  # inches
    figure = Figure(figsize=(edge + 0.4, edge), layout="constrained")
    axes = figure.subplots()
    matrix = confusion_matrix(truth, probabilities.argmax(axis=1), labels=range(len(classes)))
    draw_confusion(axes, matrix, classes)
    axes.set_title(f"{len(truth)} validation images")
    _save(figure, path)


def plot_reliability(logits: Scores, truth: Labels, temperature: float, path: Path) -> None:
    """Draws how sure the network is, and how often right, before and with the temperature, to a PNG file."""
    figure = Figure(figsize=(6.4, 5.2), layout="constrained")
    axes = figure.subplots()
    answers = {"as trained": softmax(logits)}
    if temperature != 1:
        answers[f"temperature {temperature:.2f}"] = softmax(logits / np.float32(temperature))
    draw_reliability(axes, answers, truth)
    axes.set_title(f"{len(truth)} validation images")
    _save(figure, path)


def plot_familiarity(val_scores: NDArray[np.float64], other_scores: NDArray[np.float64], path: Path) -> None:
    """Draws the scores (N,) of images of the classes and of neither (M,) to a PNG file; at least 0 is familiar."""
    figure = Figure(figsize=(7.6, 4.2), layout="constrained")
    axes = figure.subplots()
    kept = float((val_scores >= 0).mean())
    sides = {f"validation images: {kept:.1%} familiar": (val_scores, BLUE)}
    if len(other_scores):
        refused = float((other_scores < 0).mean())
        sides[f"images of neither: {refused:.1%} refused"] = (other_scores, ORANGE)
    every = np.concatenate([val_scores, other_scores])
    bins = np.linspace(np.quantile(every, 0.002), np.quantile(every, 0.998), 61)
    for label, (scores, colour) in sides.items():
        inside = np.clip(scores, bins[0], bins[-1])
        axes.hist(
            inside, bins.tolist(), weights=np.full(len(scores), 100 / len(scores)), color=colour, alpha=0.6, label=label
        )
    axes.axvline(0, color=GREY, linestyle="--", label="threshold")
    axes.set(title="Familiarity", xlabel="score, whose sigmoid is the familiarity", ylabel="share of the images (%)")
    axes.grid(alpha=0.3)
    figure.legend(loc="outside lower center", ncols=3, frameon=False)
    _save(figure, path)


def plot_images(rows: Sequence[Sequence[tuple[str, RgbImage]]], title: str, path: Path) -> None:
    """Draws a sheet of uint8 RGB images (H, W, 3) with a line of text over each to a PNG file."""
    columns = max(len(row) for row in rows)
    height, width = rows[0][0][1].shape[:2]
    figure = Figure(figsize=(1.9 * columns * width / height + 0.2, 2.15 * len(rows) + 0.5), layout="constrained")
    figure.suptitle(title)
    for line, row in zip(figure.subplots(len(rows), columns, squeeze=False), rows, strict=True):
        for axes in line:
            axes.axis("off")
        for axes, (text, image) in zip(line, row, strict=False):
            axes.imshow(image)
            axes.set_title(printable(text), fontsize=8, parse_math=False)
    _save(figure, path)


def _save(figure: Figure, path: Path) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # of a class with another script: a box is drawn
        figure.savefig(path, dpi=120)
