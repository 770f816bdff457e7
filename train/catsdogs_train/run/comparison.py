"""Compares a student with its teacher, on the same images."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from catsdogs_edge.evaluation.metrics import Labels
from catsdogs_edge.evaluation.paired import Change, compare_answers, differing
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
    def change(self) -> Change:
        """What became of the teacher's right answers."""
        return compare_answers(self.teacher.argmax(axis=1) == self.truth, self.student.argmax(axis=1) == self.truth)

    @property
    def drop(self) -> float:
        """Accuracy that the student lost, in percentage points; below 0 where it won."""
        return self.change.drop

    def differing(self) -> Iterator[tuple[int, tuple[int, int, int]]]:
        """Returns the index of each image that the two take for different classes, its label, and their answers."""
        return differing(self.truth, self.teacher, self.student)

    def figures(self) -> dict[str, Any]:
        """Returns what `run.json` says of it."""
        change = self.change
        return {
            "accuracy": change.before / change.images,
            "student_accuracy": change.after / change.images,
            "drop": change.drop,
            "drop_interval": change.interval,
            "speedup": self.speedup,
            "parameters": self.parameters,
        }

    def describe(self) -> str:
        """Describes it in one line."""
        change = self.change
        low, high = change.interval
        return (
            f"{change.after / change.images:.2%} of {change.images} images right, its teacher "
            f"{change.before / change.images:.2%}: {change.drop:+.2f} points lost (95 %: {low:+.2f} to {high:+.2f})"
        )
