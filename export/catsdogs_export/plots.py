"""Draws what one looks at: parity of precisions, and how good a model is. Colours tell apart for everyone."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from catsdogs_edge.classifier import Scores, softmax
from catsdogs_export.metrics import Labels, confusion_matrix, reliability

# Okabe and Ito's colours.
_BLUE, _ORANGE, _GREY = "#0072B2", "#D55E00", "#999999"
_COLOURS = {"INT8": _ORANGE, "fp16": _BLUE, "fp32": _BLUE}


def draw_parity(logits: Mapping[str, Scores], truth: Sequence[int], path: Path) -> None:
    """Draws the probability of the true class by one model against each of the others, and the differences.

    Args:
        logits: By model, the reference first, each of shape (N, C).
        truth: True classes.
        path: PNG file to write.
    """
    every = np.arange(len(truth))
    probabilities = {name: softmax(scores)[every, list(truth)] for name, scores in logits.items()}
    reference_name = next(iter(probabilities))
    reference = probabilities.pop(reference_name)
    figure = _figure(10, 4.4)
    scatter, histogram = figure.subplots(1, 2)
    scatter.plot([0, 1], [0, 1], color=_GREY, linewidth=1, zorder=0)
    for name, values in probabilities.items():
        difference = np.abs(values - reference)
        scatter.scatter(reference, values, s=14, color=_COLOURS[name], alpha=0.6, linewidths=0, label=name)
        bins = np.geomspace(1e-8, 1, 33)
        histogram.hist(
            np.clip(difference, bins[0], 1), bins, color=_COLOURS[name], alpha=0.6,
            label=f"{name}: mean {difference.mean():.4f}, largest {difference.max():.2f}",
        )  # fmt: skip
    scatter.set(
        title=f"Probability of the true class, {len(reference)} pictures",
        xlabel=reference_name,
        ylabel=", ".join(probabilities),
    )
    scatter.set_aspect("equal")
    histogram.set(
        title="How far they are apart", xlabel="absolute difference of probabilities", ylabel="pictures", xscale="log"
    )
    for axes in (scatter, histogram):
        axes.legend()
        axes.grid(alpha=0.3)
    figure.savefig(path, dpi=120)


def draw_evaluation(probabilities: Scores, truth: Labels, classes: Sequence[str], title: str, path: Path) -> None:
    """Draws the confusion matrix and the reliability diagram.

    Args:
        probabilities: Shape (N, C).
        truth: Shape (N,).
        classes: Names, C of them.
        title: Over both.
        path: PNG file to write.
    """
    figure = _figure(10, 4.6)
    figure.suptitle(title)
    left, right = figure.subplots(1, 2)
    matrix = confusion_matrix(truth, probabilities.argmax(axis=1), len(classes))
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    left.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.ndindex(matrix.shape):
        left.text(
            column, row, f"{matrix[row, column]}\n{shares[row, column]:.1%}", ha="center", va="center",
            color="white" if shares[row, column] > 0.5 else "black",
        )  # fmt: skip
    places = range(len(classes))
    left.set(title="Answers", xlabel="answer", ylabel="truth", xticks=places, yticks=places)
    left.set_xticklabels(classes)
    left.set_yticklabels(classes)
    confidence, accuracy, counts = reliability(probabilities, truth)
    used = counts > 0
    right.plot([0, 1], [0, 1], color=_GREY, linewidth=1, label="as sure as right")
    sizes = 20 + 180 * counts[used] / counts.max()
    right.scatter(confidence[used], accuracy[used], s=sizes, color=_BLUE, alpha=0.8, label="answers, by count")
    right.set(title="Reliability", xlabel="how sure it says it is", ylabel="how often it is right", xlim=(0.3, 1.02))
    right.set_ylim(0, 1.05)
    right.xaxis.set_major_formatter(PercentFormatter(1.0))
    right.yaxis.set_major_formatter(PercentFormatter(1.0))
    right.grid(alpha=0.3)
    right.legend(loc="upper left")
    figure.savefig(path, dpi=120)


def _figure(width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure
