"""Where the rows of `catsdogs-classify` go: to files for programs, lines for people, one line of summary."""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import typer

from catsdogs_edge.decision import Prediction
from catsdogs_edge.folder import Row
from catsdogs_edge.resume import NOTHING, Done, resume_csv, resume_jsonl
from catsdogs_edge.rows import SCHEMA, Rows, familiarity_of, open_csv, open_jsonl, probabilities_of
from catsdogs_edge.sightings import Origin


class Results(Protocol):
    """Takes the outcome for each picture.

    Attributes:
        done: Pictures that it held before.
    """

    done: Done

    def write(self, row: Row[Path], target: Path | None) -> None:
        """Writes one; `target` is where the picture was sorted to, if it was."""

    def close(self) -> None:
        """Closes the file."""


def to_fields(prediction: Prediction | None, error: str, classes: Sequence[str]) -> dict[str, Any]:
    """Gives what a row says about one picture; what is not known is None."""
    return {
        "label": prediction.label if prediction else None,
        "probability": round(prediction.probability, 6) if prediction else None,
        "familiarity": familiarity_of(prediction),
        "probabilities": probabilities_of(prediction, classes),
        "error": error or None,
    }


class FileResults:
    """CSV (`path,label,probability,familiarity,<each class>,error`) or JSON Lines, one row a picture."""

    def __init__(self, rows: Rows, done: Done, about: Mapping[str, Any], origin: Origin) -> None:
        self.done = done
        self._rows = rows
        self._about = about
        self._origin = origin

    @classmethod
    def open_csv(cls, path: Path, origin: Origin, *, sorting: bool, resume: bool) -> "FileResults":
        """Opens a CSV file.

        Args:
            path: `-` is standard output.
            origin: Its classes are columns.
            sorting: One more column, `sorted_to`: where the picture is now.
            resume: Go on in a file that may be there.

        Raises:
            OutputError: It cannot be written, or is something else.
        """
        after = ["error", *(["sorted_to"] if sorting else [])]
        columns = ["path", "label", "probability", "familiarity", *origin.classes, *after]
        done = resume_csv(path, columns) if resume else NOTHING
        append = resume and path.is_file() and path.stat().st_size > 0
        return cls(open_csv(path, columns, append=append), done, {}, origin)

    @classmethod
    def open_jsonl(cls, path: Path, origin: Origin, *, resume: bool) -> "FileResults":
        """Opens a file for JSON Lines, with schema, provider and model in each; see `open_csv`."""
        done = resume_jsonl(path) if resume else NOTHING
        about = {"schema": SCHEMA} | origin.about()
        return cls(open_jsonl(path, append=resume), done, about, origin)

    def write(self, row: Row[Path], target: Path | None) -> None:
        """Writes one.

        Raises:
            OutputError: The disk is full.
        """
        fields = {"path": str(row.path), **to_fields(row.prediction, row.error, self._origin.classes)}
        sorted_to = {} if target is None else {"sorted_to": str(target)}
        self._rows.write({**fields, **sorted_to, **self._about})

    def close(self) -> None:
        """Closes the file."""
        self._rows.close()


class Lines:
    """Lines for people on standard output: label, probability and path, or the error."""

    done: Done = NOTHING

    def __init__(self, labels: tuple[str, ...]) -> None:
        self._width = max(map(len, (*labels, "error")))

    def write(self, row: Row[Path], target: Path | None) -> None:
        """Prints one."""
        where = str(row.path) if target is None else f"{row.path} -> {target}"
        if row.prediction is None:
            typer.secho(f"{'error':<{self._width}}          {where}: {row.error}", fg=typer.colors.RED)
        else:
            typer.echo(f"{row.prediction.label:<{self._width}}  {row.prediction.probability:6.1%}  {where}")

    def close(self) -> None:
        """Nothing is held open."""


class Summary:
    """Counts rows while they pass by.

    Attributes:
        resumed: Rows that were there before.
    """

    def __init__(self, *, resumed: int = 0) -> None:
        """Starts at nothing.

        Args:
            resumed: Rows that were there before.
        """
        self.resumed = resumed
        self._labels: Counter[str] = Counter()
        self._failed = 0
        self._start = time.perf_counter()

    def count(self, row: Row[Any]) -> None:
        """Counts one."""
        if row.prediction is None:
            self._failed += 1
        else:
            self._labels[row.prediction.label] += 1

    def add(self, labels: Mapping[str, int], failed: int) -> None:
        """Counts many, by label, and those that could not be classified."""
        self._labels.update(labels)
        self._failed += failed

    @property
    def exit_code(self) -> int:
        """0 all fine, 3 some pictures failed, 1 nothing could be classified."""
        if self._labels:
            return 3 if self._failed else 0
        return 0 if self.resumed and not self._failed else 1

    def describe(self) -> str:
        """Says in one line what was found."""
        before = f"{self.resumed} were there before; " if self.resumed else ""
        total = self._labels.total() + self._failed
        if not total:
            return f"{before}no pictures are left" if before else "No pictures found"
        counts = [f"{count} {label}" for label, count in sorted(self._labels.items())]
        if self._failed:
            counts.append(f"{self._failed} could not be classified")
        milliseconds = 1000 * (time.perf_counter() - self._start) / total
        return f"{before}{total} pictures: {', '.join(counts)}; {milliseconds:.1f} ms a picture"
