"""Compares two models that were asked about the same images."""

from collections.abc import Iterator, Sequence

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from catsdogs_edge.evaluation.metrics import Labels, drop_interval
from catsdogs_edge.model.scores import Scores


class SourceChange(Struct, frozen=True, kw_only=True):
    """How the second model answers the images of one source, beside the first."""

    source: str
    images: int
    before: int
    """Right answers of the first."""
    after: int
    fixed: int
    broken: int
    interval: tuple[float, float]
    """95 % interval of the accuracy that is lost, in percentage points; a paired one."""


def by_source(before: NDArray[np.bool_], after: NDArray[np.bool_], sources: Sequence[str]) -> list[SourceChange]:
    """Counts right answers, each of shape (N,), for each source, in the order in which the sources come."""
    found = []
    for source in dict.fromkeys(sources):
        mine = np.array([other == source for other in sources])
        count, fixed, broken = (int(part.sum()) for part in (mine, ~before & after & mine, before & ~after & mine))
        low, high = drop_interval(broken, fixed, count)
        found.append(
            SourceChange(
                source=source,
                images=count,
                before=int(before[mine].sum()),
                after=int(after[mine].sum()),
                fixed=fixed,
                broken=broken,
                interval=(100 * low, 100 * high),
            )
        )
    return found


def differing(truth: Labels, before: Scores, after: Scores) -> Iterator[tuple[int, tuple[int, int, int]]]:
    """Yields the index of each image that two models take for different classes, its label, and their answers.

    Logits or probabilities, shape (N, C).
    """
    answers = np.stack([truth, before.argmax(axis=1), after.argmax(axis=1)], axis=1)
    for index in np.flatnonzero(answers[:, 1] != answers[:, 2]):
        label, first, second = answers[index].tolist()
        yield int(index), (label, first, second)
