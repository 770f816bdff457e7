"""Renders the rows of a folder: CSV for programs, a table and one line of summary for people."""

import csv
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TextIO

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from catsdogs_edge.files import open_csv, staged_file
from catsdogs_edge.folder import Row


def write_csv(rows: Iterable[Row], classes: tuple[str, ...], path: Path) -> None:
    """Writes `path,label,probability,<each class>,error`, one row a picture.

    Args:
        rows: What to write, consumed as it comes.
        classes: Names of the probability columns.
        path: Written whole or not at all; `-` is standard output.

    Raises:
        OutputError: The file cannot be written.
    """
    if path == Path("-"):
        _write_csv(rows, classes, sys.stdout)
        return
    with staged_file(path) as temporary, open_csv(temporary) as stream:
        _write_csv(rows, classes, stream)


def _write_csv(rows: Iterable[Row], classes: tuple[str, ...], stream: TextIO) -> None:
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["path", "label", "probability", *classes, "error"])
    for row in rows:
        if row.prediction is None:
            writer.writerow([row.path, "", "", *("" for _ in classes), row.error])
        else:
            values = [f"{value:.6f}" for value in (row.prediction.probability, *row.prediction.probabilities)]
            writer.writerow([row.path, row.prediction.label, *values, ""])


def write_table(rows: Iterable[Row]) -> None:
    """Prints a table to standard output."""
    table = Table("label", "probability", "picture", header_style="bold", box=SIMPLE_HEAD)
    table.columns[1].justify = "right"
    for row in rows:
        name = Text(str(row.path), overflow="fold")  # Text, because brackets in a name are no markup
        if row.prediction is None:
            table.add_row(Text("error", "red"), "", name.append(f"\n{row.error}", "red"))
        else:
            table.add_row(Text(row.prediction.label), f"{row.prediction.probability:.1%}", name)
    if table.row_count:
        Console().print(table)


class Summary:
    """Counts rows while they pass by."""

    def __init__(self) -> None:
        self._labels: Counter[str] = Counter()
        self._failed = 0
        self._seconds = 0.0

    def count(self, rows: Iterable[Row]) -> Iterator[Row]:
        """Gives the rows on, counting them and the time that they take."""
        start = time.perf_counter()
        for row in rows:
            if row.prediction is None:
                self._failed += 1
            else:
                self._labels[row.prediction.label] += 1
            yield row
        self._seconds = time.perf_counter() - start

    @property
    def exit_code(self) -> int:
        """0 all fine, 3 some pictures failed, 1 nothing could be classified."""
        if not self._labels:
            return 1
        return 3 if self._failed else 0

    def describe(self) -> str:
        """Says in one line what was found."""
        total = self._labels.total() + self._failed
        if not total:
            return "No pictures found"
        counts = [f"{count} {label}" for label, count in sorted(self._labels.items())]
        if self._failed:
            counts.append(f"{self._failed} could not be classified")
        return f"{total} pictures: {', '.join(counts)}; {1000 * self._seconds / total:.1f} ms a picture"
