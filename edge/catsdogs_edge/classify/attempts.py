"""Remembers which images were being read when a run was killed, so that one that kills runs does so twice at most."""

import contextlib
import io
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from catsdogs_edge.errors import ImageError, OutputError
from catsdogs_edge.output.files import write_all, write_errors
from catsdogs_edge.output.rows import open_locked

KILLED_TWICE = "the command was killed twice while it read this image: not tried again"

_START = b"images that catsdogs-classify is reading\n"
_SLOT = 2**13  # bytes in the file for each of them
_LONGEST = 2000  # characters of a name, of four bytes at most
_ENCODING = ("utf-8", "surrogateescape")


class Attempts:
    """A hidden file beside the rows that names the images that are being read; a run that ends by itself removes it.

    One of those that a killed run left there may be at fault. When a run is resumed, each of them is read while no
    other is: where that run is killed, too, it was this one.
    """

    def __init__(self, rows: Path, *, resume: bool) -> None:
        """Opens the file; raises `OutputError` where it cannot be written, is a link, or is not ours."""
        self._path = rows.with_name(f".{rows.name}.reading")
        with write_errors(self._path):
            self._file = io.FileIO(open_locked(self._path, flags=0), "r+")
            before = self._file.readall()
            if before and not before.startswith(_START):
                self._file.close()
                raise OutputError(f"{self._path} holds something else than what is being read: remove it")
            self._file.seek(0)
            self._file.truncate()
            write_all(self._file, _START)
        self._times = _read(before) if resume else {}
        self._slots = {path: slot for slot, path in enumerate(self._times)}
        self._free: list[int] = []
        self._count = len(self._slots)
        self._busy = 0
        self._alone = False
        self._changed = threading.Condition()
        for path, slot in self._slots.items():
            self._write(slot, f"{self._times[path]} {path}")

    @contextmanager
    def reading(self, name: str) -> Iterator[None]:
        """Notes that an image, by the name in its row, is being read in the block.

        Raises `ImageError` for one that has killed two runs.
        """
        name = name[:_LONGEST]
        times = self._times.get(name, 0)
        if times > 1:
            raise ImageError(KILLED_TWICE)
        with self._changed:
            self._changed.wait_for(lambda: not self._alone and not (times and self._busy))
            self._alone, self._busy = times > 0, self._busy + 1
            slot = self._take_slot(name)
            self._write(slot, f"{times + 1} {name}")
        try:
            yield
        finally:
            with self._changed:
                self._alone, self._busy = False, self._busy - 1
                self._write(slot, "")
                self._free.append(slot)
                self._changed.notify_all()

    def close(self) -> None:
        """Removes the file, if it is still this one: the run has not been killed."""
        own = os.fstat(self._file.fileno())
        self._file.close()
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.lstat(self._path), own):
                self._path.unlink()

    def _take_slot(self, name: str) -> int:
        if name in self._slots:
            return self._slots.pop(name)
        if self._free:
            return self._free.pop()
        self._count += 1
        return self._count - 1

    def _write(self, slot: int, text: str) -> None:
        with write_errors(self._path):
            self._file.seek((slot + 1) * _SLOT)
            write_all(self._file, text.encode(*_ENCODING) + b"\0")


def _read(content: bytes) -> dict[str, int]:
    """Returns how often a run was killed over an image, by its path; what a power cut left of a file is passed over."""
    times = {}
    for start in range(_SLOT, len(content), _SLOT):
        count, _, path = content[start : start + _SLOT].split(b"\0")[0].decode(*_ENCODING).partition(" ")
        if count in {"1", "2"}:
            times[path] = int(count)
    return times
