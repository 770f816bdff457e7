"""Holds signals back while something is done that must not be cut in two."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

# The last: Ctrl-Break and a closed window, on Windows alone, which lacks the one before
_NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")
ENDING = [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]
"""Those that end a command."""


@contextmanager
def holding_signals() -> Iterator[None]:
    """Holds back the signals that end a command until the block has ended; a second one comes through at once.

    An error that ends the block takes their place. In other threads than the main one, which alone gets signals, it
    does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handlers: dict[int, Callable[[int, FrameType | None], Any]] = {}
    held: list[tuple[int, FrameType | None]] = []

    def hold(number: int, frame: FrameType | None) -> None:
        held.append((number, frame))
        if len(held) > 1:
            handlers[number](number, frame)

    for number in ENDING:
        if callable(handler := signal.getsignal(number)):
            handlers[number] = handler
            signal.signal(number, hold)
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    if held:
        number, frame = held[0]
        handlers[number](number, frame)
