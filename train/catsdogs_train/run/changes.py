"""What a training from an earlier run changed: what it mended, what it broke, by where the images come from."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from catsdogs_edge.evaluation.metrics import Labels
from catsdogs_edge.evaluation.paired import SourceChange, by_source, differing
from catsdogs_edge.model.scores import Scores


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
        return by_source(before, after, self.sources)

    def differing(self) -> Iterator[tuple[int, tuple[int, int, int]]]:
        """Returns the index of each image that has another answer now, its label, and the two answers."""
        return differing(self.truth, self.before, self.after)

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
