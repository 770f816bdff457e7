"""Compares a student with its teacher, on the same images."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catsdogs_edge.evaluation.metrics import Labels, drop_interval
from catsdogs_edge.evaluation.paired import differing
from catsdogs_edge.model.scores import Scores


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """How a student answers, beside its teacher."""

    teacher: Scores
    """Logits of the teacher for the validation images, shape (N, C), each network on images of its own size."""
    student: Scores
    """Likewise, of the student."""
    truth: Labels
    """The right answers, shape (N,)."""
    speedup: float
    """How many times faster the student is, as estimated from its convolutions."""
    parameters: tuple[int, int]
    """Numbers of weights: of the teacher, and of the student."""

    @property
    def right(self) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Which answers are right, each of shape (N,): the teacher's, and the student's."""
        return self.teacher.argmax(axis=1) == self.truth, self.student.argmax(axis=1) == self.truth

    @property
    def drop(self) -> float:
        """Accuracy that the student lost, in percentage points; below 0 where it won."""
        before, after = self.right
        return 100 * (int(before.sum()) - int(after.sum())) / len(self.truth)

    @property
    def interval(self) -> tuple[float, float]:
        """Its 95 % interval: a paired one, for both answered the same images."""
        before, after = self.right
        low, high = drop_interval(int((before & ~after).sum()), int((after & ~before).sum()), len(self.truth))
        return 100 * low, 100 * high

    def differing(self) -> Iterator[tuple[int, tuple[int, int, int]]]:
        """Returns the index of each image that the two take for different classes, its label, and their answers."""
        return differing(self.truth, self.teacher, self.student)

    def figures(self) -> dict[str, Any]:
        """Returns what `run.json` says of it."""
        before, after = self.right
        return {
            "accuracy": float(before.mean()),
            "student_accuracy": float(after.mean()),
            "drop": self.drop,
            "drop_interval": self.interval,
            "speedup": self.speedup,
            "parameters": self.parameters,
        }

    def describe(self) -> str:
        """Describes it in one line."""
        (before, after), (low, high) = self.right, self.interval
        return (
            f"{after.mean():.2%} of {len(self.truth)} images right, its teacher {before.mean():.2%}: "
            f"{self.drop:+.2f} points lost (95 %: {low:+.2f} to {high:+.2f})"
        )
