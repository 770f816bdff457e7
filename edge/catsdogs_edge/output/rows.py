"""Rows for programs, written as they come: CSV and JSON Lines."""

import csv
import io
import os
import stat
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from catsdogs_edge.output.files import make_folder, write_errors
from catsdogs_edge.output.json_text import to_json

SCHEMA = 1

STANDARD_OUTPUT = Path("-")


class RowFile:
    """A file, emptied first or appended to, or `-` for standard output, to which whole rows are added.

    Each row goes through to the system at once: a reader sees it, and a process that is killed does not lose it. A row
    that does not fit on the disk leaves nothing behind. Raises `OutputError` where it cannot be written.
    """

    def __init__(self, path: Path, *, append: bool = False) -> None:
        self._path = path
        self._file: io.FileIO | None = None
        if path != STANDARD_OUTPUT:
            make_folder(path.parent)
            with write_errors(path):
                self._file = io.FileIO(path, "a" if append else "w")

    def add(self, row: str) -> None:
        """Adds a row; raises `OutputError` where it cannot. Errors of standard output are left to the command."""
        if self._file is None:
            sys.stdout.write(row)
            sys.stdout.flush()
            return
        data = memoryview(row.encode("utf-8", "surrogateescape"))
        with write_errors(self._path):
            start = self._file.tell() if stat.S_ISREG(os.fstat(self._file.fileno()).st_mode) else None
            try:
                while data:
                    data = data[self._file.write(data) or 0 :]
            except OSError:
                if start is not None:
                    self._file.truncate(start)
                    self._file.seek(start)
                raise

    def close(self) -> None:
        """Closes the file; standard output stays open."""
        if self._file is not None:
            self._file.close()


class CsvRows(RowFile):
    """CSV with a header, unless it goes on in a file; `probabilities` become columns, and None is empty.

    A path in a row that is not UTF-8 goes through byte for byte.
    """

    def __init__(self, path: Path, columns: Sequence[str], *, append: bool = False) -> None:
        super().__init__(path, append=append)
        self._columns = columns
        if not append:
            self.add(_csv_line(columns))

    def write(self, row: Mapping[str, Any]) -> None:
        """Writes a row; see `add`."""
        flat = {**row, **(row.get("probabilities") or {})}
        self.add(_csv_line([_cell(flat.get(name)) for name in self._columns]))


class JsonRows(RowFile):
    """A JSON object in each line (https://jsonlines.org)."""

    def write(self, row: Mapping[str, Any]) -> None:
        """Writes a row; see `add`."""
        self.add(to_json(row) + "\n")


Rows: TypeAlias = CsvRows | JsonRows
"""A file that takes rows."""


def _csv_line(cells: Sequence[str]) -> str:
    line = io.StringIO(newline="")
    end = "\r\n"  # so that a carriage return in a name is quoted, too; the row itself ends as on Unix
    csv.writer(line, lineterminator=end).writerow(cells)
    return line.getvalue().removesuffix(end) + "\n"


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.6f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
