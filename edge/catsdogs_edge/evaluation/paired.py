"""Compares two models that were asked about the same images."""

from collections.abc import Iterator, Sequence

import numpy as np
from msgspec import Struct, structs
from numpy.typing import NDArray

from catsdogs_edge.evaluation.metrics import Labels, drop_interval
from catsdogs_edge.model.scores import Scores


class Change(Struct, frozen=True, kw_only=True):
    """How the second model answers the same images as the first."""

    images: int
    before: int
    """Right answers of the first."""
    after: int
    fixed: int
    broken: int
    interval: tuple[float, float]
    """95 % interval of the accuracy that is lost, in percentage points; a paired one."""

    @property
    def drop(self) -> float:
        """Accuracy that is lost, in percentage points; below 0 where it is won."""
        return 100 * (self.broken - self.fixed) / self.images


class SourceChange(Change, frozen=True, kw_only=True):
    """The same, for the images of one source."""

    source: str


def compare_answers(before: NDArray[np.bool_], after: NDArray[np.bool_]) -> Change:
    """Compares which answers were right, each of shape (N,)."""
    fixed, broken = int((~before & after).sum()), int((before & ~after).sum())
    low, high = drop_interval(broken, fixed, len(before))
    return Change(
        images=len(before),
        before=int(before.sum()),
        after=int(after.sum()),
        fixed=fixed,
        broken=broken,
        interval=(100 * low, 100 * high),
    )


def by_source(before: NDArray[np.bool_], after: NDArray[np.bool_], sources: Sequence[str]) -> list[SourceChange]:
    """Compares right answers, each of shape (N,), for each source, in the order in which the sources come."""
    found = []
    for source in dict.fromkeys(sources):
        mine = np.array([other == source for other in sources])
        found.append(SourceChange(source=source, **structs.asdict(compare_answers(before[mine], after[mine]))))
    return found


def differing(truth: Labels, before: Scores, after: Scores) -> Iterator[tuple[int, tuple[int, int, int]]]:
    """Yields the index of each image that two models take for different classes, its label, and their answers.

    Logits or probabilities, shape (N, C).
    """
    answers = np.stack([truth, before.argmax(axis=1), after.argmax(axis=1)], axis=1)
    for index in np.flatnonzero(answers[:, 1] != answers[:, 2]):
        label, first, second = answers[index].tolist()
        yield int(index), (label, first, second)
