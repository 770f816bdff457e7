"""What a training from an earlier run changed: what it mended, what it broke, by where the images come from."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from catsdogs_edge.evaluation.metrics import Labels, drop_interval
from catsdogs_edge.model.scores import Scores


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceChange:
    """The same for the images of one source."""

    source: str
    images: int
    before: int
    """Right answers of the earlier run."""
    after: int
    fixed: int
    broken: int

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of the accuracy that was lost, in percentage points; a paired one."""
        low, high = drop_interval(self.broken, self.fixed, self.images)
        return 100 * low, 100 * high


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """How a network answers the validation images, beside the one that it was trained from."""

    before: Scores
    """Logits of the earlier network, shape (N, C)."""
    after: Scores
    truth: Labels
    """The right answers, shape (N,)."""
    sources: Sequence[str]
    """Where each image comes from."""

    def by_source(self) -> list[SourceChange]:
        """Counts for each source, in the order in which they come."""
        before, after = (scores.argmax(axis=1) == self.truth for scores in (self.before, self.after))
        found = []
        for source in dict.fromkeys(self.sources):
            mine = np.array([other == source for other in self.sources])
            found.append(
                SourceChange(
                    source=source,
                    images=int(mine.sum()),
                    before=int(before[mine].sum()),
                    after=int(after[mine].sum()),
                    fixed=int((~before & after & mine).sum()),
                    broken=int((before & ~after & mine).sum()),
                )
            )
        return found

    def differing(self) -> Iterator[tuple[int, tuple[int, int, int]]]:
        """Yields the index of each image that has another answer now, its label, and the two answers."""
        answers = np.stack([self.truth, self.before.argmax(axis=1), self.after.argmax(axis=1)], axis=1)
        for index in np.flatnonzero(answers[:, 1] != answers[:, 2]):
            label, before, after = answers[index].tolist()
            yield int(index), (label, before, after)

    def figures(self) -> list[dict[str, Any]]:
        """Returns what `run.json` says of it."""
        names = ("source", "images", "before", "after", "fixed", "broken")
        return [{name: getattr(item, name) for name in names} for item in self.by_source()]

    def describe(self) -> str:
        """Describes it in one line."""
        parts = [
            f"{item.source}: {item.fixed} fixed, {item.broken} broken of {item.images}" for item in self.by_source()
        ]
        return "; ".join(parts)
