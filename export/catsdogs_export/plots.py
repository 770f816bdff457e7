"""Draws what one looks at: parity of precisions, and how good a model is. Colours tell apart for everyone."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from sklearn.metrics import confusion_matrix

from catsdogs_edge.evaluation.charts import BLUE, GREY, ORANGE, draw_confusion, draw_reliability
from catsdogs_edge.evaluation.metrics import Labels
from catsdogs_edge.model.scores import Scores

_COLOURS = {"INT8": ORANGE, "fp16": BLUE, "fp32": BLUE}


def draw_parity(probabilities: Mapping[str, Scores], truth: Sequence[int], path: Path) -> None:
    """Draws the probability of the true class by the first model against each of the others to a PNG file."""
    every = np.arange(len(truth))
    of_truth = {name: scores[every, list(truth)] for name, scores in probabilities.items()}
    reference_name = next(iter(of_truth))
    reference = of_truth.pop(reference_name)
    figure = Figure(figsize=(10, 4.4), layout="constrained")
    scatter, histogram = figure.subplots(1, 2)
    scatter.plot([0, 1], [0, 1], color=GREY, linewidth=1, zorder=0)
    for name, values in of_truth.items():
        difference = np.abs(values - reference)
        scatter.scatter(reference, values, s=14, color=_COLOURS[name], alpha=0.6, linewidths=0, label=name)
        bins = np.geomspace(1e-8, 1, 33)
        histogram.hist(
            np.clip(difference, bins[0], 1), bins, color=_COLOURS[name], alpha=0.6,
            label=f"{name}: mean {difference.mean():.4f}, largest {difference.max():.2f}",
        )  # fmt: skip
    scatter.set(
        title=f"Probability of the true class, {len(reference)} images",
        xlabel=reference_name,
        ylabel=", ".join(of_truth),
    )
    scatter.set_aspect("equal")
    histogram.set(
        title="How far they are apart", xlabel="absolute difference of probabilities", ylabel="images", xscale="log"
    )
    for axes in (scatter, histogram):
        axes.legend(loc="upper left")  # to look for the best place is slow, and Matplotlib warns of it
        axes.grid(alpha=0.3)
    figure.savefig(path, dpi=120, format="png")  # whatever its name ends with


def draw_evaluation(probabilities: Scores, truth: Labels, classes: Sequence[str], title: str, path: Path) -> None:
    """Draws the confusion matrix and the reliability diagram to a PNG file."""
    figure = Figure(figsize=(10, 4.6), layout="constrained")
    figure.suptitle(title, parse_math=False)  # it has the name of a file
    left, right = figure.subplots(1, 2)
    matrix = confusion_matrix(truth, probabilities.argmax(axis=1), labels=range(len(classes)))
    draw_confusion(left, matrix, classes)
    draw_reliability(right, {"answers": probabilities}, truth)
    figure.savefig(path, dpi=120, format="png")  # whatever its name ends with
