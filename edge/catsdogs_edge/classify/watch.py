"""Waits for images that other programs put into folders, such as cameras that upload by FTP."""

import logging
import os
import queue
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from watchdog.events import (
    DirCreatedEvent,
    DirMovedEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileModifiedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer

from catsdogs_edge.errors import DataError
from catsdogs_edge.images.discovery import expand, is_searched, looks_like_image

_log = logging.getLogger(__name__)

SETTLED = 0.3
"""Seconds without another event after a file was closed, or moved here, until it counts as finished."""

QUIET = 2.0
"""The same where nobody says that it was closed: on another system than Linux, or a file system of the network."""

UNCLOSED = 30.0 if sys.platform == "linux" else QUIET
"""The same where a file was begun here, and its end is still to be told of: a slow upload may pause."""

_LOOK = 30.0  # seconds between two walks through the folders, for what the system did not tell of
_FORGET = 20  # walks that do not find what was there
_TICK = 0.1
_MOST_AT_ONCE = 64
_EVENTS: list[type[FileSystemEvent]] = [
    DirCreatedEvent, DirMovedEvent, FileClosedEvent, FileCreatedEvent, FileModifiedEvent, FileMovedEvent,
]  # fmt: skip

Version = tuple[int, int]
"""When a file was changed, in nanoseconds, and its size: another version is another image."""


class FolderWatch:
    """Finds the images in folders, and then those that are put there; a file that is written anew is found again."""

    def __init__(self, folders: Sequence[Path], without: Path | None = None) -> None:
        """Begins to watch; raises `DataError` for what is no folder, or cannot be watched.

        `without` is a folder in them that is left out.
        """
        for folder in folders:
            if not folder.is_dir():
                raise DataError(f"{folder} is no folder: --watch waits for images in folders")
        self._folders = folders
        self._real = {folder.resolve(): folder for folder in folders}
        self._without = without.resolve() if without else None
        self._events: queue.SimpleQueue[tuple[FileSystemEvent, float]] = queue.SimpleQueue()
        self._waiting: dict[Path, tuple[float, Version]] = {}
        self._seen: dict[Path, Version] = {}
        self._old: dict[Path, Version] = {}
        self._away: Counter[Path] = Counter()
        self._observer = Observer()
        handler = _Handler(self._events.put)
        try:
            for folder in self._real:  # of which macOS tells what happens
                self._observer.schedule(handler, str(folder), recursive=True, event_filter=_EVENTS)
            self._observer.start()
        except OSError as error:  # such as a limit on what may be watched
            raise DataError(f"the folders cannot be watched: {error.strerror or error}") from error

    def was_there(self, path: Path) -> bool:
        """Returns whether an image that was yielded was there at the start, as it is now."""
        return path in self._old and self._old[path] == self._seen.get(path)

    def forget(self, paths: Iterable[Path]) -> None:
        """Takes what comes under these names for new, as they were moved away."""
        for path in paths:
            for known in (self._seen, self._old):
                known.pop(path, None)
            del self._away[path]

    def close(self) -> None:
        """Ends the watch."""
        self._observer.stop()
        self._observer.join(1.0)

    def __iter__(self) -> Iterator[list[Path]]:
        """Yields finished images, some at a time, and waits for more; does not end."""
        next_look = 0.0
        while True:
            now = time.monotonic()
            if now >= next_look:
                self._walk(is_first=not next_look)
                next_look = now + _LOOK
            self._take_events()
            ready = self._ready(time.monotonic())
            if ready:
                yield ready
            else:
                time.sleep(_TICK)

    def _walk(self, *, is_first: bool) -> None:
        """Finds what is there: at the start, and later what the system did not tell of."""
        there = set()
        for folder in self._folders:
            for path in expand(folder, self._without, is_quiet=not is_first):
                there.add(path)
                if path not in self._waiting:
                    self._expect(path, QUIET, may_be_old=is_first)
        if is_first:
            self._old = {path: version for path, (_, version) in self._waiting.items()}
        for path in list(self._seen):  # the folder may be away for a moment, such as that of a file server
            self._away[path] = 0 if path in there else self._away[path] + 1
            if self._away[path] >= _FORGET:
                self.forget([path])

    def _take_events(self) -> None:
        while not self._events.empty():
            event, arrived = self._events.get()
            path = self._as_given(Path(os.fsdecode(event.dest_path or event.src_path)))
            if event.is_directory:
                if path.is_dir() and self._is_searched(path):
                    for inner in expand(path, self._without, is_quiet=True):
                        self._expect(inner, QUIET)
            elif looks_like_image(path.name) and self._is_searched(path.parent):
                if isinstance(event, FileClosedEvent | FileMovedEvent):
                    self._expect(path, SETTLED)
                else:  # nobody will close what was moved here: files of a folder, or one that is old or has content
                    version = _version(path)
                    has_content = isinstance(event, FileCreatedEvent) and version is not None and version[1] > 0
                    is_whole = event.is_synthetic or has_content or _is_old(version, arrived)
                    self._expect(path, QUIET if is_whole else UNCLOSED)

    def _as_given(self, path: Path) -> Path:
        """Returns a path as the user would write it, in one of the folders."""
        for real, folder in self._real.items():
            if path.is_relative_to(real):
                return folder / path.relative_to(real)
        return path

    def _is_searched(self, folder: Path) -> bool:
        """Returns whether a walk would come to a folder."""
        for root in self._folders:
            if folder == root or root in folder.parents:
                inner = folder.relative_to(root).parts
                is_left_out = self._without and self._without in (folder.resolve(), *folder.resolve().parents)
                return all(map(is_searched, inner)) and not is_left_out
        return False

    def _expect(self, path: Path, seconds: float, *, may_be_old: bool = False) -> None:
        """Waits so long for a file to change no more, unless this version of it was found before.

        One that `may_be_old`, and is by its time, is finished at once; clocks of file servers differ.
        """
        version = _version(path)
        if version is None or self._seen.get(path) == version:
            self._waiting.pop(path, None)
            return
        is_done = may_be_old and _is_old(version, time.time())
        self._waiting[path] = time.monotonic() + (0.0 if is_done else seconds), version

    def _ready(self, now: float) -> list[Path]:
        ready: list[Path] = []
        for path, (due, version) in list(self._waiting.items()):
            if len(ready) == _MOST_AT_ONCE:
                break
            if due > now:
                continue
            del self._waiting[path]
            if _version(path) != version:  # it has changed meanwhile, or gone
                self._expect(path, UNCLOSED)
                continue
            self._seen[path] = version
            ready.append(path)
        return ready


class _Handler(FileSystemEventHandler):
    def __init__(self, put: Callable[[tuple[FileSystemEvent, float]], None]) -> None:
        self._put = put

    def on_any_event(self, event: FileSystemEvent) -> None:
        """Passes an event on, to the thread that asks."""
        self._put((event, time.time()))


def _is_old(version: Version | None, moment: float) -> bool:
    """Returns whether nobody wrote to it then, by its time."""
    return version is not None and moment - version[0] / 1e9 > QUIET


def _version(path: Path) -> Version | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size
