"""Tells systemd that the camera is watched (`Type=notify`, `WatchdogSec=`), so that one that hangs is restarted."""

import os
import socket
import time
from contextlib import suppress

from catsdogs_edge.capture.live import HANGING
from catsdogs_edge.stream.frame_result import FrameResult, Sink

_SECONDS = 5.0  # between two words that all is well


class Watchdog(Sink):
    """Says at each result that this process is alive, unless the driver of its camera hangs (sd_notify(3))."""

    def __init__(self, address: str) -> None:
        """Takes the value of `NOTIFY_SOCKET`."""
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._next = 0.0
        self._hanging: set[str] = set()
        self._send("READY=1")

    @classmethod
    def from_environment(cls) -> "Watchdog | None":
        """Returns one where systemd waits for word; None anywhere else."""
        address = os.environ.get("NOTIFY_SOCKET")
        return cls(address) if address and hasattr(socket, "AF_UNIX") else None

    def write(self, result: FrameResult) -> bool:
        """Says that all is well, every few seconds; never asks to stop."""
        now = time.monotonic()
        if HANGING in result.frame.error:
            self._hanging.add(result.source)
        else:
            self._hanging.discard(result.source)
        if now >= self._next and not self._hanging:
            self._next = now + _SECONDS
            self._send("WATCHDOG=1")
        return True

    def close(self) -> None:
        """Says that the command ends."""
        self._send("STOPPING=1")

    def _send(self, word: str) -> None:
        # Nobody may listen, as in a container that inherits the variable: that ends no camera (sd_notify(3), too).
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as to_systemd:
            to_systemd.sendto(word.encode(), self._address)
