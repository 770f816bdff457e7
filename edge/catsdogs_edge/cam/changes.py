"""Notices when what a camera shows changes: another label, or another state of the source."""

from dataclasses import dataclass

from catsdogs_edge.capture.frames import State
from catsdogs_edge.stream.frame_result import FrameResult


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """The first result that shows something else than the one before."""

    result: FrameResult
    label: str | None
    """The smoothed label; None where the source is not live."""

    @property
    def name(self) -> str:
        """What is shown from now on: the label, or the state of the source."""
        return self.label or self.result.frame.state.value


_RANKS = {State.LIVE: 0, State.STALE: 1, State.LOST: 2, State.RECONNECTING: 2}


class ChangeDetector:
    """Compares each result with the one before.

    Until a source is live again, its state only changes for the worse: of a camera that is off for days, each attempt
    to open it is no news.
    """

    def __init__(self) -> None:
        self._shown: tuple[int, str | None] | None = None

    def add(self, result: FrameResult) -> Change | None:
        """Takes the next result; returns a change, or None where there is none.

        A frame that could not be classified from a source that is live, such as a damaged file, changes nothing.
        """
        label = result.smoothed.label if result.smoothed else None
        if label is None and result.frame.state is State.LIVE:
            if self._shown and self._shown[0]:  # it is live again, and another outage is another change
                self._shown = 0, None
            return None
        rank = _RANKS[result.frame.state]
        shown = rank, label
        if shown == self._shown or (rank and self._shown and self._shown[0] >= rank):
            return None
        self._shown = shown
        return Change(result=result, label=label)
