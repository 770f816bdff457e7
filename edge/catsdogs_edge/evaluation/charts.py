"""Draws how good answers are, on axes that train and export bring: this package needs no matplotlib.

Colours are Okabe and Ito's, which colour-blind people can tell apart.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from catsdogs_edge.evaluation.metrics import Labels, calibration_error, reliability
from catsdogs_edge.model.scores import Scores

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MANY, _TOO_MANY = 20, 80  # classes from which on a confusion matrix has no numbers, and no names

BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#999999"


def printable(name: str) -> str:
    """Replaces what is not UTF-8 in the name of a file or folder; matplotlib refuses to draw it."""
    return name.encode("utf-8", "replace").decode()


def draw_confusion(axes: "Axes", matrix: NDArray[np.int64], classes: Sequence[str]) -> None:
    """Draws a confusion matrix (C, C) of counts, true classes in rows; with numbers where there is room."""
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.ndindex(matrix.shape if len(classes) < _MANY else (0, 0)):
        axes.text(
            column, row, f"{matrix[row, column]}\n{shares[row, column]:.1%}", ha="center", va="center",
            color="white" if shares[row, column] > 0.5 else "black",
        )  # fmt: skip
    axes.set(title="Answers", xlabel="answer", ylabel="truth")
    if len(classes) < _TOO_MANY:
        names = [printable(name) for name in classes]
        size = 10 if len(classes) < _MANY else 7
        axes.set_xticks(range(len(names)), names, rotation=90 if len(names) > 4 else 0, fontsize=size, parse_math=False)
        axes.set_yticks(range(len(names)), names, fontsize=size, parse_math=False)


def draw_reliability(axes: "Axes", answers: Mapping[str, Scores], truth: Labels) -> None:
    """Draws how often answers are right against how sure they are; dots grow with the count of answers.

    `answers` are one or two sets of probabilities (N, C) by name, `truth` the classes (N,).
    """
    axes.plot([0, 100], [0, 100], color=GREY, linewidth=1, label="as sure as right")
    for colour, marker, (name, probabilities) in zip((BLUE, ORANGE), "os", answers.items(), strict=False):
        confidence, accuracy, counts = reliability(probabilities, truth)
        used = counts > 0
        label = f"{name}: calibration error {100 * calibration_error(probabilities, truth):.2f} points"
        sizes = 20 + 180 * counts[used] / counts.max()
        axes.scatter(
            100 * confidence[used], 100 * accuracy[used], s=sizes, color=colour, marker=marker, alpha=0.6,
            linewidths=0, label=label,
        )  # fmt: skip
    least = 100 / next(iter(answers.values())).shape[1]
    axes.set(title="Reliability", xlabel="how sure it says it is (%)", ylabel="how often it is right (%)")
    axes.set(xlim=(least - 3, 103), ylim=(-3, 105))
    axes.grid(alpha=0.3)
    for handle in axes.legend(loc="lower right").legend_handles[1:]:
        if handle is not None:
            handle.set(sizes=[40])
