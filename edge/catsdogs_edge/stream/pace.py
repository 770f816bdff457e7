"""Tells a camera that is slow from one that was away."""

from catsdogs_edge.capture.moving_average import MovingAverage

_WEIGHT = 0.1  # of an interval beside those before it
_SLOWEST = 10  # times what is no gap: longer ones are no interval, and make nobody patient


class Pace:
    """How regularly the frames of a source come.

    Attributes:
        patience: Seconds between two frames that still follow one another: those that it began with, or three times the
            usual interval where that is longer.
    """

    def __init__(self, least: float = 2.0) -> None:
        """Takes the seconds that are no gap of any source."""
        self.patience = self._least = least
        self._last: float | None = None
        self._interval: MovingAverage[float] = MovingAverage()

    def follows(self, clock: float) -> bool:
        """Takes the time of a frame; returns whether it follows the one before without a gap. The first one does."""
        gap = 0.0 if self._last is None else clock - self._last
        is_first, self._last = self._last is None, clock
        if gap < 0:
            return False
        follows = gap <= self.patience
        if not is_first:
            self.patience = max(self._least, 3 * self._interval.add(min(gap, _SLOWEST * self._least), _WEIGHT))
        return follows
