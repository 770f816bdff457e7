"""Keeps threads that decode large images from filling the memory together."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class PixelBudget:
    """So many pixels may be decoded at a time; an image that needs more than all of them is decoded alone."""

    def __init__(self, pixels: int) -> None:
        self._all = self._free = pixels
        self._changed = threading.Condition()

    @contextmanager
    def spend(self, pixels: int | None) -> Iterator[None]:
        """Waits until the pixels of an image are free, and holds them; None is an image of unknown size."""
        share = self._all if pixels is None else min(pixels, self._all)
        with self._changed:
            self._changed.wait_for(lambda: self._free >= share)
            self._free -= share
        try:
            yield
        finally:
            with self._changed:
                self._free += share
                self._changed.notify_all()
