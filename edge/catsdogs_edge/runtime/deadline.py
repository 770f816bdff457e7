"""Ends runs of a model that take too long.

One thread looks after all of them. A `threading.Timer` for each would start a thread for each, which takes a tenth of
the time that a small network needs for an image.
"""

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
        self._thread: threading.Thread | None = None
        self._running: dict[int, tuple[float, ort.RunOptions]] = {}
        """By id of its options, when a run has to end."""

    def add(self, options: ort.RunOptions, seconds: float) -> None:
        with self._lock:
            self._running[id(options)] = time.monotonic() + seconds, options
            if self._thread is None or not self._thread.is_alive():  # a thread does not survive a fork
                self._thread = threading.Thread(target=self._look, name="deadline", daemon=True)
                self._thread.start()

    def remove(self, options: ort.RunOptions) -> None:
        with self._lock:
            del self._running[id(options)]

    def _look(self) -> None:
        while True:
            time.sleep(_TICK)
            with self._lock:
                if not self._running:
                    self._thread = None
                    return
                for end, options in self._running.values():
                    if end <= time.monotonic():
                        options.terminate = True


_watch = _Watch()


@contextmanager
def deadline(seconds: float) -> Iterator[ort.RunOptions]:
    """Gives options for one run, which ends with an error when it has taken so long, and up to a second more.

    Their `terminate` is set then.
    """
    options = ort.RunOptions()
    _watch.add(options, seconds)
    try:
        yield options
    finally:
        _watch.remove(options)
