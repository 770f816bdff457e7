"""What somebody says of collected images: kept at once, and done when it is confirmed.

`labels.jsonl`, in the folder of the images, has a line for each word: after a kill, or a page that was closed, all of
it is there again. Nothing moves before it is confirmed.
"""

import contextlib
import json
import logging
import os
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from catsdogs_edge.collection.folder import ENDING, Collected, find_collected, remember_seen
from catsdogs_edge.errors import DataError, OutputError
from catsdogs_edge.model.contract import NEITHER
from catsdogs_edge.output.files import atomic_file, existing_folder, flush, make_folder, sync, write_all, write_errors
from catsdogs_edge.output.json_text import from_json
from catsdogs_edge.output.names import FreeNames, put_in_place, rename_to_free
from catsdogs_edge.output.rows import open_locked

_log = logging.getLogger(__name__)

DELETE = "(delete)"
"""In place of a label: the image is not worth keeping."""

UNSURE = "(unsure)"
"""In place of a label: for another day."""

JOURNAL = "labels.jsonl"
LOCK = ".review.lock"

CLASSES, OTHER, ROWS = "classes", "other", "rows"
"""Folders that are made: with a folder for each class, with images of neither, and with what was known of each."""

BURST_SECONDS = 20.0
"""Two images of one place that are no further apart belong together."""


@dataclass(frozen=True, slots=True)
class Confirmed:
    """What was done."""

    moved: Mapping[str, int]
    """Images by label."""
    deleted: int
    gone: int
    """Images that were not there any more, such as by the quota."""


class _Word(msgspec.Struct):
    """A line of the journal."""

    name: str
    label: str | None


def _line(name: str, label: str | None) -> str:
    """Returns what the journal says of an image."""
    return json.dumps({"name": name, "label": label}) + "\n"


class Review:
    """Collected images, and their labels until they are confirmed; threads may use it at the same time.

    Attributes:
        labels: All that can be said of an image.
    """

    def __init__(self, folder: Path, classes: Sequence[str], out: Path) -> None:
        """Takes the folder of `Collector`, and one to move what is labelled into; it is made when it is needed.

        Raises `DataError` where there is no such folder, `OutputError` where the journal cannot be written, or somebody
        else has it.
        """
        if not folder.is_dir():
            raise DataError(f"{folder}: no such folder, expected one of catsdogs-cam --collect")
        if existing_folder(out.absolute()).stat().st_dev != folder.stat().st_dev:
            raise DataError(f"{out} lies on another disk than {folder}, to which images cannot be moved in one step")
        self.folder, self.out = folder, out
        self.classes = tuple(classes)
        self.labels = (*self.classes, NEITHER, UNSURE, DELETE)
        self._lock = threading.Lock()
        self._names = FreeNames()
        self._path = folder / JOURNAL
        if self._path.is_symlink():
            raise OutputError(f"{self._path} is a link, and files are not written through links: remove it")
        with write_errors(folder):
            self._lock_file = open_locked(folder / LOCK)  # two who write the journal would lose each other's words
        self._said = self._read()
        with write_errors(self._path):
            self._journal = self._path.open("ab", buffering=0)
            # A line that a power cut or a full disk has torn must not swallow the next one
            self._is_torn = self._path.read_bytes()[-1:] not in {b"", b"\n"}

    def _read(self) -> dict[str, str]:
        """Reads the journal; a line that a power cut has torn says nothing."""
        said: dict[str, str] = {}
        try:
            lines = self._path.read_bytes().splitlines()
        except FileNotFoundError:
            return said
        except OSError as error:
            raise OutputError(f"{self._path} cannot be read: {error.strerror}") from error
        for line in lines:
            try:
                entry = from_json(line, _Word)
            except ValueError:
                _log.warning("%s: a line that is no label is passed over: %r", self._path, line[:80])
                continue
            if entry.label is None:
                said.pop(entry.name, None)
            else:
                said[entry.name] = entry.label
        if unknown := sorted({label for label in said.values() if label not in self.labels}):
            raise DataError(
                f"{self._path} has the labels {', '.join(unknown)}, which this model does not know: take "
                "the --model of the review before, or remove that file"
            )
        return said

    def bursts(self) -> list[list[Collected]]:
        """Returns the images that are there, in groups of one place and one time, the newest group first."""
        groups: list[list[Collected]] = []
        last: dict[tuple[str, str], list[Collected]] = {}
        for item in sorted(find_collected(self.folder), key=lambda item: item.time):
            group = last.get(item.place)
            if group is None or item.time - group[-1].time > BURST_SECONDS:
                group = last[item.place] = []
                groups.append(group)
            group.append(item)
        return groups[::-1]

    def label_of(self, name: str) -> str | None:
        """Returns what was said of an image; None for nothing."""
        return self._said.get(name)

    def path_of(self, name: str) -> Path | None:
        """Returns the file of an image of that name; None where there is none."""
        path = self.folder / name
        is_ours = path.parent == self.folder and path.suffix == ENDING and os.path.isfile(path.with_suffix(".json"))
        return path if is_ours and os.path.isfile(path) else None  # not `is_file`, which fails for too long a name

    def say(self, names: Iterable[str], label: str | None) -> int:
        """Remembers a label for images, or with None takes it back; it is on the disk when this returns.

        What is no image, or none any more, gets none. Returns how many got it.

        Raises `ValueError` for what is no label, `OutputError` where it cannot be written.
        """
        if label is not None and label not in self.labels:
            raise ValueError(f"'{label}' is no label, expected one of {', '.join(self.labels)}")
        with self._lock, write_errors(self._path):
            names = [name for name in names if name in self._said or self.path_of(name)]
            lines = [_line(name, label) for name in names]
            is_torn, self._is_torn = self._is_torn, True  # until all of it is written
            write_all(self._journal, ("\n" * is_torn + "".join(lines)).encode())
            flush(self._journal.fileno())
            self._is_torn = False
            for name in names:
                if label is None:
                    self._said.pop(name, None)
                else:
                    self._said[name] = label
        return len(names)

    def confirm(self) -> Confirmed:
        """Moves what has a label into `CLASSES/label` or `OTHER`, its row into `ROWS`, and removes what is to go.

        What is `UNSURE` stays. Whatever is killed meanwhile, an image is in one of the two places, and the rest of the
        labels is still there. Raises `OutputError` where something cannot be moved.
        """
        moved: dict[str, int] = {}
        deleted = gone = 0
        with self._lock:
            there = {item.path.name: item for item in find_collected(self.folder)}
            done: set[str] = set()
            try:
                for name, label in self._said.items():
                    if label == UNSURE and name in there:
                        continue
                    if name not in there:
                        gone += label != UNSURE
                    elif label == DELETE:
                        self._delete(there[name])
                        deleted += 1
                    elif self._move(there[name], label):
                        moved[label] = moved.get(label, 0) + 1
                    else:
                        gone += 1
                    done.add(name)
            finally:  # after an error, too, those that were moved have no label any more
                self._said = {
                    name: label
                    for name, label in self._said.items()
                    if name not in done and os.path.lexists(self.folder / name)
                }
                self._compact()
        return Confirmed(moved, deleted, gone)

    def _move(self, item: Collected, label: str) -> bool:
        """Moves an image and its row; returns False where it had to make room for a newer one, just now."""
        remember_seen(self.folder, item.thumbnail)
        for name in self.classes:
            make_folder(self.out / CLASSES / name)  # one without an image, too: training wants all of them
        folder, rows = self.out / OTHER if label == NEITHER else self.out / CLASSES / label, self.out / ROWS
        for needed in (folder, rows):
            make_folder(needed)
        with write_errors(folder):
            target = self._rename(item.path, folder, rows)
            if target is None:
                return False
            sync(folder)
            with contextlib.suppress(FileNotFoundError):  # the quota took it, after the image was safe
                put_in_place(item.path.with_suffix(".json"), rows / f"{target.stem}.json")
        return True

    def _rename(self, image: Path, folder: Path, rows: Path) -> Path | None:
        """Moves an image to a name that no row has yet; returns where it is, or None where it has gone."""
        for name in self._names.candidates(folder / image.name):
            if os.path.lexists(rows / f"{name.stem}.json"):
                continue
            try:
                rename_to_free(image, name)
            except FileExistsError:
                continue
            except FileNotFoundError:
                with contextlib.suppress(OSError):
                    if name.stat().st_size == 0:  # it kept the name, where that takes two steps
                        name.unlink()
                if os.path.lexists(image):
                    raise
                return None
            return name
        raise AssertionError  # names do not end

    def _delete(self, item: Collected) -> None:
        remember_seen(self.folder, item.thumbnail)
        with write_errors(self.folder):
            item.path.unlink(missing_ok=True)
            item.path.with_suffix(".json").unlink(missing_ok=True)

    def _compact(self) -> None:
        """Writes the journal anew, with what is left."""
        lines = [_line(name, label) for name, label in self._said.items()]
        self._journal.close()
        try:
            with atomic_file(self._path) as temporary:
                temporary.write_text("".join(lines), encoding="utf-8", newline="\n")
            self._is_torn = False
        finally:
            with write_errors(self._path):
                self._journal = self._path.open("ab", buffering=0)

    def close(self) -> None:
        """Closes the journal; another process may have the folder from then on."""
        self._journal.close()
        os.close(self._lock_file)
