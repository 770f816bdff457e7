"""Ends runs of a model that take too long.

One thread looks after all of them. A `threading.Timer` for each would start a thread for each, which takes a tenth of
the time that a small network needs for an image.
"""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import onnxruntime as ort

_TICK = 1.0  # seconds between two looks


class _Watch:
    """Looks after runs, in a thread that is there while there are some."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._is_looking = False
        self._running: dict[int, tuple[float, ort.RunOptions]] = {}
        """By id of its options, when a run has to end."""

    def add(self, options: ort.RunOptions, seconds: float) -> None:
        with self._lock:
            if not self._is_looking:
                threading.Thread(target=self._look, name="deadline", daemon=True).start()
                self._is_looking = True
            self._running[id(options)] = time.monotonic() + seconds, options

    def remove(self, options: ort.RunOptions) -> None:
        with self._lock:
            self._running.pop(id(options), None)

    def _look(self) -> None:
        while True:
            time.sleep(_TICK)
            with self._lock:
                if not self._running:
                    self._is_looking = False
                    return
                for end, options in self._running.values():
                    if end <= time.monotonic():
                        options.terminate = True


_watch = _Watch()

if hasattr(os, "register_at_fork"):  # a forked process has no threads of the other one, and maybe its lock held
    os.register_at_fork(after_in_child=_watch.__init__)  # type: ignore[misc]


@contextmanager
def deadline(seconds: float) -> Iterator[ort.RunOptions]:
    """Gives options for one run. The run ends with an error after so many seconds, or up to a second later.

    Their `terminate` is set then.
    """
    options = ort.RunOptions()
    try:
        _watch.add(options, seconds)
        yield options
    finally:
        _watch.remove(options)
