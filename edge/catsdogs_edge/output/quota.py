"""Keeps a folder of recordings within bounds: the oldest go first."""

import contextlib
import os
import re
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from catsdogs_edge.errors import OutputError
from catsdogs_edge.output.files import sync, write_errors
from catsdogs_edge.output.names import put_in_place

HEADROOM = 2**20
"""Bytes that a recording may grow by until its folder is looked at again."""

_UNITS = {"MB": 10**6, "GB": 10**9, "TB": 10**12}
_LEAST = 5 * 10**6
_A_DAY = 86_400.0
_SECONDS_BETWEEN_LOOKS = 300.0
_LONGEST = 100  # bytes of the words in a name
_OURS = re.compile(r"(\.catsdogs-(?P<process>\d+)-)?\d{8}-\d{6}-.*\.(webm|jpg|json|mkv|mp4|avi)")


@dataclass(frozen=True, slots=True)
class Limit:
    """How much is kept: bytes, or days."""

    bytes: int | None = None
    days: float | None = None

    @classmethod
    def parse(cls, text: str) -> "Limit":
        """Reads `500MB`, `20GB` or `14d`; raises `ValueError` for something else."""
        match = re.fullmatch(r"(\d+(?:\.\d+)?) ?(MB|GB|TB|d)", text.strip(), re.IGNORECASE)
        if not match or not float(match[1]):
            raise ValueError(f"'{text}' is no quota, expected a size such as 500MB or 20GB, or days such as 14d")
        if match[2].lower() == "d":
            return cls(days=float(match[1]))
        size = int(float(match[1]) * _UNITS[match[2].upper()])
        if size < _LEAST:
            raise ValueError(f"the quota '{text}' is too small, expected 5MB or more")
        return cls(bytes=size)


def timed_name(moment: float, *words: str) -> str:
    """Returns a name that begins with the local time (seconds since 1970), as all that a quota counts: no ending.

    Of many words, the last ones are in it.
    """
    text = (
        re.sub(r"[^\w.+-]+", "_", "-".join(filter(None, words)))
        .encode()[-_LONGEST:]
        .decode(errors="ignore")
        .strip("._-")
    )
    return f"{datetime.fromtimestamp(moment, UTC).astimezone():%Y%m%d-%H%M%S}-{text or 'x'}"


def unfinished(path: Path) -> Path:
    """Returns the name under which this process writes a file that is not whole yet."""
    return path.with_name(f".catsdogs-{os.getpid()}-{path.name}")


def write_whole(path: Path, data: bytes) -> None:
    """Writes a file that has its name once all of it is on the disk."""
    beside = unfinished(path)
    try:
        beside.write_bytes(data)
        sync(beside)
        put_in_place(beside, path)
    except OSError:
        with contextlib.suppress(OSError):  # the disk may have gone
            beside.unlink(missing_ok=True)
        raise


class Quota:
    """A folder, and how much of what `timed_name` has named may be in it; nothing else is counted or touched.

    Attributes:
        folder: The folder.
        removed: Recordings that had to go since the start, each with its image.
    """

    def __init__(self, folder: Path, limit: Limit | None) -> None:
        """Removes what a process that was killed has left unfinished; the folder must exist."""
        self.folder = folder
        self.removed = 0
        self._limit = limit or Limit()
        self._lock = threading.Lock()
        self._next_look = 0.0
        for _, path, _ in self._files():
            match = _OURS.fullmatch(path.name)
            if match and match["process"] and not _is_running(int(match["process"])):
                with contextlib.suppress(OSError):  # on Windows, of one that is being written
                    path.unlink(missing_ok=True)
        self.make_room(0)

    @property
    def bytes(self) -> int | None:
        """Most bytes of all of it; None without a limit."""
        return self._limit.bytes

    @property
    def largest(self) -> int | None:
        """Most bytes of one recording, so that others find room; None without a limit."""
        return None if self._limit.bytes is None else self._limit.bytes // 4

    def make_room(self, more: int = HEADROOM, *, keep: Path | None = None) -> None:
        """Removes the oldest, but not `keep`, until `more` bytes fit; raises `OutputError` where they cannot."""
        with self._lock, write_errors(self.folder):
            recordings: defaultdict[str, list[tuple[float, Path, int]]] = defaultdict(list)
            for file in self._files():
                recordings[file[1].stem].append(file)  # a video and its image come and go together
            total = sum(size for files in recordings.values() for _, _, size in files) + more
            stuck: Path | None = None
            oldest = time.time() - self._limit.days * _A_DAY if self._limit.days else 0.0
            for files in sorted(recordings.values(), key=max):
                too_much = self._limit.bytes is not None and total > self._limit.bytes
                if not (too_much or max(files)[0] < oldest):
                    return
                if any(path.name.startswith(".") or path == keep for _, path, _ in files):  # it is being written
                    continue
                for _, path, size in sorted(files, key=lambda file: -file[2]):  # the video first
                    try:
                        path.unlink(missing_ok=True)
                    except OSError as error:
                        if sys.platform == "win32" and isinstance(error, PermissionError):
                            stuck = path  # a program has it open
                            break
                        raise OutputError(f"{path} cannot be removed for the quota: {error.strerror}") from error
                    total -= size
                else:
                    self.removed += 1
            if self._limit.bytes is not None and total > self._limit.bytes:
                if stuck:
                    raise OutputError(f"{stuck} cannot be removed for the quota: a program has it open")
                most = f"{self._limit.bytes / 10**6:g} MB"
                raise OutputError(f"the quota of {self.folder}, {most}, is too small for a single recording")

    def look(self) -> None:
        """Removes what is too old, where nothing new comes either; every five minutes at most. Raises `OutputError`."""
        if time.monotonic() >= self._next_look:
            self.make_room(0)
            self._next_look = time.monotonic() + _SECONDS_BETWEEN_LOOKS

    def _files(self) -> Iterator[tuple[float, Path, int]]:
        """Yields when each of ours was last written, its path and size."""
        with os.scandir(self.folder) as entries:
            for entry in entries:
                if _OURS.fullmatch(entry.name):
                    with contextlib.suppress(FileNotFoundError):  # removed meanwhile
                        status = os.lstat(entry.path)  # on Windows, `entry.stat` is of when it was opened
                        yield status.st_mtime, Path(entry.path), status.st_size


class Growth:
    """A recording that is being written into a folder with a quota."""

    def __init__(self, quota: Quota) -> None:
        self._quota = quota
        self._bytes = self._step = 0

    @property
    def is_large(self) -> bool:
        """Whether it may take more than its part of the quota by the next check."""
        return self._quota.largest is not None and self._bytes + self._step > self._quota.largest

    def check(self, path: Path) -> None:
        """Makes room for what the file may grow by until the next check; raises what `make_room` raises."""
        size = path.stat().st_size if path.is_file() else 0
        self._bytes, self._step = size, size - self._bytes
        more = max(HEADROOM, 3 * self._step)
        if self._quota.bytes is not None:  # one that has grown as large ends early, and needs no more than its own end
            more = max(min(more, self._quota.bytes - size), 0)
        self._quota.make_room(more, keep=path)


def _is_running(process: int) -> bool:
    if (
        process == os.getpid() or os.name == "nt"
    ):  # in a container, each has the same number; on Windows, 0 would end it
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
