"""Where the rows of `catsdogs-classify` go: to files for programs, lines for people, one line of summary."""

import time
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from catsdogs_edge.classify.batching import ImageResult
from catsdogs_edge.classify.resume import ALL_JSON_FIELDS, JSON_FIELDS, NOTHING, Done, resume_csv, resume_jsonl
from catsdogs_edge.errors import ExitCode
from catsdogs_edge.images.discovery import describe_left_out
from catsdogs_edge.model.info import ModelInfo
from catsdogs_edge.model.prediction import file_fields, percent, prediction_columns
from catsdogs_edge.output.rows import SCHEMA, CsvRows, JsonRows, Rows
from catsdogs_edge.output.terminal import counted, one_line, redact, say


class Results(Protocol):
    """Takes the outcome for each image.

    Attributes:
        done: Images that it held before.
        is_regular: It is a file, which takes a row at once; not a pipe, which somebody reads.
    """

    done: Done = NOTHING
    is_regular: bool = False

    def begin(self) -> None:
        """Empties the file, or goes on in it, once all that is to be opened is open."""
        return

    def write(self, row: ImageResult[str], target: Path | None) -> None:
        """Writes one, with where the image was sorted to, if it was. Raises `OutputError` where the disk is full."""

    def sync(self) -> None:
        """Waits until all rows are on the disk, if there is a file. Raises `OutputError` where they cannot be."""
        return

    def close(self) -> None:
        """Closes the file, if there is one."""
        return


class FileResults:
    """CSV (`path,label,probability,familiarity,<each class>,error`) or JSON Lines, one row an image."""

    def __init__(
        self, rows: Rows, read: Callable[[], Done] | None, info: ModelInfo, *, constant: Mapping[str, Any]
    ) -> None:
        """Takes the open rows, and what reads those of before, if they are to be gone on with."""
        self.done = read() if read else NOTHING
        self.begin, self.sync, self.is_regular = rows.begin, rows.sync, rows.is_regular
        self._rows, self._read = rows, read
        self._has_retried = False
        self._classes = info.classes
        self._constant = constant

    @classmethod
    def open_csv(cls, path: Path, info: ModelInfo, *, sorting: bool, resume: bool) -> "FileResults":
        """Opens a CSV file, `-` for standard output; raises `OutputError` where it cannot.

        `sorting` adds a column, `sorted_to`: where the image is now. `resume` goes on in a file that may be there.
        """
        columns = ["path", *prediction_columns(info.classes), "error", *(["sorted_to"] if sorting else [])]
        rows = CsvRows(path, columns, append=resume)  # from here on no other process writes it
        return cls(rows, partial(resume_csv, rows, columns) if resume else None, info, constant={})

    @classmethod
    def open_jsonl(cls, path: Path, info: ModelInfo, *, resume: bool) -> "FileResults":
        """Opens a file for JSON Lines, with schema, provider and model in each; see `open_csv`."""
        rows = JsonRows(path, fields=JSON_FIELDS, known=ALL_JSON_FIELDS, append=resume)
        constant = {"schema": SCHEMA} | info.row_fields()
        return cls(
            rows, partial(resume_jsonl, rows, str(constant["model"])) if resume else None, info, constant=constant
        )

    def write(self, row: ImageResult[str], target: Path | None) -> None:
        """Writes a row; see `Results.write`."""
        path = row.path if row.prediction else redact(row.path)  # the address of a stream is an error
        fields = file_fields(path, row.prediction, row.error, self._classes)
        sorted_to = {} if target is None else {"sorted_to": str(target)}
        self._has_retried = self._has_retried or self.done.has_failed(path)
        self._rows.write({**fields, **sorted_to, **self._constant})

    def close(self) -> None:
        """Takes out the rows with an error that have another one now, and closes the file."""
        try:
            if self._read and self._has_retried:
                self._read()
        finally:
            self._rows.close()


class Lines(Results):
    """Lines for people on standard output: label, probability and path, or the error."""

    def __init__(self, labels: tuple[str, ...]) -> None:
        self._width = max(map(len, (*labels, "error")))

    def write(self, row: ImageResult[str], target: Path | None) -> None:
        """Prints a line."""
        where = one_line(row.path if target is None else f"{row.path} -> {target}")
        if row.prediction is None:
            say(f"{'error':<{self._width}}          {where}: {row.error}", red=True)
        else:
            say(f"{row.prediction.label:<{self._width}}  {percent(row.prediction.probability)}  {where}")


class ClassifySummary:
    """Counts images by label while they pass by, beside the rows that were there before.

    Attributes:
        resumed: Rows that were there before.
        left_out: Files in folders that are no images, by their endings.
        stayed: Images that have their rows and were to be moved, but are still where they were.
    """

    def __init__(self, *, resumed: int = 0, waits: bool = False) -> None:
        """Begins to count; a command that `waits` for images (`--watch`) has no time for each."""
        self.resumed = resumed
        self._waits = waits
        self.left_out: Counter[str] = Counter()
        self.stayed = 0
        self._labels: Counter[str] = Counter()
        self._failed = 0
        self._start = time.perf_counter()

    def count(self, row: ImageResult[Any]) -> None:
        """Counts one image."""
        self.add({row.prediction.label: 1} if row.prediction else {}, failed=row.prediction is None)

    def add(self, labels: Mapping[str, int], failed: int) -> None:
        """Counts many images, by label, and those that could not be classified."""
        self._labels.update(labels)
        self._failed += failed

    @property
    def exit_code(self) -> ExitCode:
        """How the command ends; what was done before counts, too."""
        return ExitCode.from_counts(self._labels.total() or self.resumed, self._failed + self.stayed)

    def describe(self) -> str:
        """Describes in one line what was found."""
        before = f"{self.resumed} were there before; " if self.resumed else ""
        total = self._labels.total() + self._failed
        if not total and self.stayed:
            return f"{before}{self.stayed} are still where they were: remove their rows, and they are moved again"
        left_out = f"; {described}" if (described := describe_left_out(self.left_out)) else ""
        if not total:
            return (f"{before}no images are left" if before else "No images found") + left_out
        counts = [f"{count} {label}" for label, count in sorted(self._labels.items())]
        if self._failed:
            counts.append(f"{self._failed} could not be classified")
        if self.stayed:
            counts.append(f"{self.stayed} are still where they were")
        milliseconds = 1000 * (time.perf_counter() - self._start) / total
        rate = "" if self._waits else f"; {milliseconds:.1f} ms an image"
        return f"{before}{counted(total, 'image')}: {', '.join(counts)}{rate}{left_out}"
