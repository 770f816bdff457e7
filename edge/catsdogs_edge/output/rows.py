"""Rows for programs, written as they come: CSV and JSON Lines."""

import csv
import io
import logging
import os
import shutil
import stat
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence, Set
from pathlib import Path
from typing import Any, TypeAlias

from catsdogs_edge.errors import OutputError
from catsdogs_edge.output.files import atomic_file, flush, make_folder, sync, write_all, write_errors
from catsdogs_edge.output.json_text import from_json, to_json

_log = logging.getLogger(__name__)

SCHEMA = 1

STANDARD_OUTPUT = Path("-")

CUT_OFF = "%s: its last row is not whole, and is cut off: %s"
"""What is said of a file and that row."""

_SECONDS_BETWEEN_LOOKS = 1.0
LONGEST_ROW = 2**16
"""Bytes; a path has 4096 at most."""

_LOCKED_BYTE = 2**31 - 2  # on Windows nobody else may read or write what is locked: as far as it goes
_COMMON = 4  # columns that rows begin with, whatever the classes: path, label, probability, familiarity
_ENDS = (["error"], ["error", "sorted_to"])  # and columns that they end with


class RowFile(ABC):
    """A file, or `-` for standard output, to which whole rows are added, by one process at a time.

    Each row goes through to the system at once: a reader sees it, and a process that is killed does not lose it. A row
    that does not fit on the disk leaves nothing behind.

    Attributes:
        path: Of the file.
    """

    def __init__(self, path: Path, *, append: bool = False, rotates: bool = False) -> None:
        """Opens a file; `begin` empties it, unless it is to be appended to.

        Raises `OutputError` where it cannot be written, where another process writes it, where it is a link, and where
        it holds something else than such rows. If it is removed or moved away meanwhile, rows go on in a new one
        (`rotates`, as rotated logs want it), or end with an `OutputError`.
        """
        self.path = path
        self._append = append
        self._rotates = rotates
        self._file: io.FileIO | None = None
        self.is_regular = self._is_new = False
        if path != STANDARD_OUTPUT:
            make_folder(path.parent)
            self._open()

    def begin(self) -> None:
        """Makes the file ready for the first row; call it once all that is needed is open."""
        if self._file is None or not self.is_regular:
            self._write(self._head(), is_head=True)
            return
        with write_errors(self.path):
            if not self._append:
                self._file.truncate(0)
            elif self._rotates:
                self._cut_last_row()
            if os.fstat(self._file.fileno()).st_size == 0:
                self._write(self._head(), is_head=True)

    def replace(self, records: Iterable[bytes]) -> None:
        """Goes on in a file with these rows, which takes the place of this one: whole.

        It is never without its lock, but on Windows. Raises `OutputError` where it cannot be written, or another file
        has the name now.
        """
        assert self._file is not None  # noqa: S101 - for mypy
        self._look()
        with atomic_file(self.path) as temporary:
            file = io.FileIO(open_locked(temporary), "a")
            try:
                for record in records:
                    write_all(file, record)
                shutil.copymode(self.path, temporary)
            except BaseException:
                file.close()
                raise
            if sys.platform == "win32":  # where nothing that is open can be replaced: for a moment there is no lock
                file.close()
                self._file.close()
        self._file.close()
        self._file = io.FileIO(open_locked(self.path), "a") if file.closed else file

    def add(self, row: str) -> None:
        """Adds a row; raises `OutputError` where it cannot. Errors of standard output are left to the command."""
        if self._file is not None and self.is_regular and time.monotonic() > self._next_look:
            self._look()
        self._write(row)

    def _write(self, text: str, *, is_head: bool = False) -> None:
        if self._file is None:
            sys.stdout.write(text)
            sys.stdout.flush()
            return
        with write_errors(self.path):
            end = os.fstat(self._file.fileno()).st_size
            if self.is_regular and not end and not is_head:  # emptied meanwhile, as logrotate's copytruncate does
                text = self._head() + text
            try:
                write_all(self._file, text.encode("utf-8", "surrogateescape"))
            except BrokenPipeError as error:
                raise OutputError(f"{self.path}: nobody reads it any more") from error
            except OSError:
                if self.is_regular:
                    self._file.truncate(end)
                raise

    def sync(self) -> None:
        """Waits until all rows are on the disk, in the file of that name; raises `OutputError` where they cannot be."""
        if self._file is not None and self.is_regular:
            with write_errors(self.path):
                flush(self._file.fileno())
                if self._is_new:  # its name, too
                    sync(self.path.parent)
                    self._is_new = False
            if not self._rotates:
                self._look()

    def close(self) -> None:
        """Closes the file, once all is on the disk; standard output stays open."""
        if self._file is not None and not self._file.closed:
            try:
                self.sync()
            finally:
                self._file.close()

    def _open(self) -> None:
        with write_errors(self.path):
            self._is_new = not self.path.exists()
            self.is_regular = self._is_new or self.path.is_file()
            self._file = io.FileIO(open_locked(self.path) if self.is_regular else self.path, "a")
            self._next_look = time.monotonic() + _SECONDS_BETWEEN_LOOKS
            if self.is_regular:
                with self.path.open("rb") as stream:
                    first = stream.readline(LONGEST_ROW)
                resumes = self._append and not self._rotates  # who resumes looks at every row
                is_cut = self._rotates and not first.endswith(b"\n") and self._begins_ours(first)
                if first and not resumes and not is_cut and not self._is_ours(first):
                    self._file.close()
                    raise OutputError(
                        f"{self.path} holds something else than such rows, or rows with other columns "
                        "(--crop, --motion, --copy and --move add some): take another name"
                    )

    def _head(self) -> str:
        """Returns the line that comes before the first row, if one does."""
        return ""

    def _begins_ours(self, text: bytes) -> bool:
        """Returns whether a first line that a power cut has torn is the start of one of ours."""
        return self._head().encode("utf-8", "surrogateescape").startswith(text)

    @abstractmethod
    def _is_ours(self, first: bytes) -> bool:
        """Returns whether a first line is one of ours."""

    @abstractmethod
    def _is_whole(self, last: bytes) -> bool:
        """Returns whether a last line, without its end, is a row."""

    def _cut_last_row(self) -> None:
        """Cuts off a last row that is not whole, as after a power cut; one that lacks only its line end gets it."""
        assert self._file is not None  # noqa: S101 - for mypy
        with self.path.open("rb") as stream:
            size = stream.seek(0, os.SEEK_END)
            start = stream.seek(max(size - LONGEST_ROW, 0))
            tail = stream.read()
        end = tail.rfind(b"\n") + 1
        if not end and self._head() and self._begins_ours(tail):  # the header is written anew
            self._file.truncate(0)
        elif self._is_whole(tail[end:]):
            write_all(self._file, b"\n")
        elif end < len(tail):
            _log.warning(CUT_OFF, self.path, tail[end:].decode("utf-8", "replace"))
            self._file.truncate(start + end)

    def _look(self) -> None:
        """Finds out whether the open file is still the one that has the name."""
        assert self._file is not None  # noqa: S101 - for mypy
        self._next_look = time.monotonic() + _SECONDS_BETWEEN_LOOKS
        with write_errors(self.path):
            try:
                if os.path.samestat(os.lstat(self.path), os.fstat(self._file.fileno())):
                    return
            except FileNotFoundError:
                pass
        if not self._rotates:
            raise OutputError(f"{self.path} was removed or moved away while it was written: start again")
        _log.info("%s was removed or moved away: rows go on in a new one.", self.path)
        self._file.close()
        self._open()
        self.begin()


def open_locked(path: Path, flags: int = os.O_APPEND) -> int:
    """Opens a regular file, which need not exist, for this process alone, and returns the descriptor.

    Raises `OutputError` where it is a link or another process has it, `OSError` where it cannot be opened.
    """
    if path.is_symlink():
        raise OutputError(f"{path} is a link, and rows are not written through links: name the file itself")
    no_follow = getattr(os, "O_NOFOLLOW", 0)  # not on Windows
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | flags | no_follow, 0o666)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):  # a pipe, which would wait for ever
        os.close(descriptor)
        raise OutputError(f"{path} is no regular file: remove it")
    try:
        _lock(descriptor)
    except BlockingIOError as error:
        os.close(descriptor)
        raise OutputError(f"{path} is being written by another process: wait, or take another name") from error
    except OSError:  # a file system without locks
        _log.debug("%s cannot be locked.", path)
    return descriptor


def _lock(descriptor: int) -> None:
    """Locks an open file, until it is closed, against others that ask for the same; `BlockingIOError` if one has it."""
    if sys.platform == "win32":
        import msvcrt  # noqa: PLC0415 - on Windows alone

        os.lseek(descriptor, _LOCKED_BYTE, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except PermissionError as error:
            raise BlockingIOError from error
        os.lseek(descriptor, 0, os.SEEK_SET)
    else:
        import fcntl  # noqa: PLC0415 - not on Windows

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


class CsvRows(RowFile):
    """CSV with a header, unless it goes on in a file; `probabilities` become columns, and None is empty.

    A path in a row that is not UTF-8 goes through byte for byte.
    """

    def __init__(self, path: Path, columns: Sequence[str], *, append: bool = False, rotates: bool = False) -> None:
        self._columns = columns
        super().__init__(path, append=append, rotates=rotates)

    def _is_whole(self, last: bytes) -> bool:
        return last.count(b'"') % 2 == 0 and len(_cells(last)) == len(self._columns)

    def write(self, row: Mapping[str, Any]) -> None:
        """Writes a row; see `add`."""
        flat = {**row, **(row.get("probabilities") or {})}
        self.add(csv_line([_cell(flat.get(name)) for name in self._columns]))

    def _head(self) -> str:
        return csv_line(self._columns)

    def _is_ours(self, first: bytes) -> bool:
        """Rows of another model, which has other classes, are ours to replace, but not to add to.

        Rows to which somebody has added a column are not.
        """
        cells = _cells(first)
        if self._rotates or cells[:_COMMON] != list(self._columns[:_COMMON]):
            return cells == list(self._columns)
        return any(cells[-len(end) :] == end for end in _ENDS)


class JsonRows(RowFile):
    """A JSON object in each line (https://jsonlines.org); one of ours has all of `fields`, and none but the `known`."""

    def __init__(
        self, path: Path, *, fields: Set[str], known: Set[str], append: bool = False, rotates: bool = False
    ) -> None:
        self._fields = fields
        self._known = known
        super().__init__(path, append=append, rotates=rotates)

    def _is_ours(self, first: bytes) -> bool:
        try:
            return self._fields <= from_json(first, dict[str, Any]).keys() <= self._known
        except ValueError:
            return False

    def _begins_ours(self, text: bytes) -> bool:
        return any(text.startswith(f'{{"{name}": '.encode()) for name in self._known)

    def _is_whole(self, last: bytes) -> bool:
        return self._is_ours(last)

    def write(self, row: Mapping[str, Any]) -> None:
        """Writes a row; see `add`."""
        self.add(to_json(row) + "\n")


Rows: TypeAlias = CsvRows | JsonRows
"""A file that takes rows."""


def csv_line(cells: Sequence[object]) -> str:
    """Returns a row of a CSV, with its line end."""
    line = io.StringIO(newline="")
    end = "\r\n"  # so that a carriage return in a name is quoted, too; the row itself ends as on Unix
    csv.writer(line, lineterminator=end).writerow(cells)
    return line.getvalue().removesuffix(end) + "\n"


def _cells(line: bytes) -> list[str]:
    return next(csv.reader([line.decode("utf-8", "surrogateescape")]), [])


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.6f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
