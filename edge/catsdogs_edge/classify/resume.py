"""Goes on with an output file that was cut short: which images does it already hold?"""

import csv
import hashlib
import json
import logging
import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from catsdogs_edge.classify.attempts import KILLED_TWICE
from catsdogs_edge.errors import OutputError
from catsdogs_edge.output.files import write_errors
from catsdogs_edge.output.rows import CUT_OFF, LONGEST_ROW, STANDARD_OUTPUT, RowFile

_log = logging.getLogger(__name__)

TAIL = 64
"""Rows at the end of a file whose images may not have been moved away yet; see `catsdogs_edge.classify.sorter`."""


@dataclass(frozen=True, slots=True)
class Done:
    """The images that an output file holds already, but those with an error: they are tried again, unless they kill.

    Rows with an error stay until there is another one for their image, which may not be among those of this run.
    """

    hashes: NDArray[np.uint64]
    """Hashes of paths, sorted, shape (N,): 8 bytes each, where a million paths would take 100 MB."""
    moved: Sequence[tuple[Path, Path]] = ()
    """Where the last of them were, and where they have been sorted to; `TAIL` at most."""
    failed: NDArray[np.uint64] = field(default_factory=lambda: np.zeros(0, np.uint64))
    """Hashes of the paths of rows with an error, sorted."""

    def __len__(self) -> int:
        return len(self.hashes)

    def __contains__(self, path: Path | str) -> bool:
        return _is_among(str(path), self.hashes)

    def has_failed(self, path: str) -> bool:
        """Returns whether there is a row with an error for an image."""
        return _is_among(path, self.failed)


NOTHING = Done(np.zeros(0, np.uint64))

JSON_FIELDS = frozenset({"path", "label", "probability", "error", "schema"})
"""Fields that each row of ours has in JSON Lines."""

ALL_JSON_FIELDS = JSON_FIELDS | {"familiarity", "probabilities", "sorted_to", "provider", "model"}
"""Fields that it may have."""

_JSON_START = b'{"path": "'


def resume_csv(rows: RowFile, columns: Sequence[str]) -> Done:
    """Reads an open CSV file; takes out rows with an error that have another one, and a last one that is not whole.

    Raises `OutputError` where it has other columns, or is damaged elsewhere than at its end; it is left as it is then.
    """

    def read(number: int, record: bytes) -> Mapping[str, str] | None:
        (cells,) = csv.reader([record.decode("utf-8", "surrogateescape")])
        if number == 0 and cells != list(columns):
            raise ValueError(f"the columns are {','.join(cells)}, expected {','.join(columns)}")
        return dict(zip(columns, cells, strict=True)) if number else None

    return _resume(rows, read, quoted=True, start=b"")


def resume_jsonl(rows: RowFile, model: str) -> Done:
    """Reads JSON Lines, of a model of that SHA-256; see `resume_csv`."""

    def read(_: int, record: bytes) -> Mapping[str, str]:
        row = json.loads(record.decode("utf-8", "surrogateescape"))
        if missing := JSON_FIELDS - dict(row).keys():
            raise ValueError(f"without {' and '.join(sorted(missing))}")
        if row.get("model", model) != model:
            raise ValueError(f"the model is {str(row['model'])[:12]}, expected {model[:12]}")
        target = {"sorted_to": str(row["sorted_to"])} if row.get("sorted_to") else {}
        return {"path": str(row["path"]), "error": row["error"] or "", **target}

    return _resume(rows, read, quoted=False, start=_JSON_START)


def _resume(
    rows: RowFile, read: Callable[[int, bytes], Mapping[str, str] | None], *, quoted: bool, start: bytes
) -> Done:
    """Reads the rows; `quoted` records may hold line ends between quotes, `start` is how a row of ours begins."""
    path = rows.path
    if path == STANDARD_OUTPUT:
        raise OutputError("--resume needs a file, not standard output")
    hashes: list[np.uint64] = []
    moved: deque[tuple[Path, Path]] = deque(maxlen=TAIL)
    failed: dict[np.uint64, int] = {}
    stale: set[int] = set()
    number, end, ending = 0, 0, b""
    with write_errors(path), path.open("r+b") as stream:
        try:
            for number, record in enumerate(_records(stream, quoted=quoted)):
                if not record.endswith(b"\n"):
                    if not _is_whole(record, read, number):
                        if (number == 0 and quoted) or not _is_cut_short(record, start):
                            raise ValueError("it does not end")
                        _log.warning(CUT_OFF, path, record.rstrip(b"\0").decode("utf-8", "replace"))
                        break
                    ending = b"\n"  # which an editor has taken away
                row = read(number, record)
                if row is not None and (key := _hash(row["path"])) in failed:
                    stale.add(failed.pop(key))
                if row is not None and row["error"] not in {"", KILLED_TWICE}:
                    failed[key] = number
                elif row is not None:
                    hashes.append(key)
                    moved += [(Path(row["path"]), Path(row["sorted_to"]))] if row.get("sorted_to") else []
                end += len(record)
        except (csv.Error, KeyError, RecursionError, TypeError, ValueError) as error:
            raise OutputError(
                f"{path} cannot be resumed: record {number + 1} is not one of ours ({error}): was it made with another "
                "model, or other options? Take another file"
            ) from error
        stream.truncate(end)
        stream.seek(end)
        stream.write(ending)
    if stale:
        rows.replace(_others(path, stale, quoted=quoted))
    done, tried_again = (np.sort(np.array(keys, np.uint64)) for keys in (hashes, [*failed]))
    return Done(done, tuple(moved), tried_again)


def _others(path: Path, stale: Set[int], *, quoted: bool) -> Iterator[bytes]:
    """Yields the records of a file but for some, by number."""
    with write_errors(path), path.open("rb") as stream:
        yield from (record for number, record in enumerate(_records(stream, quoted=quoted)) if number not in stale)


def _is_whole(record: bytes, read: Callable[[int, bytes], Mapping[str, str] | None], number: int) -> bool:
    """Returns whether a last record without its line end lacks nothing else."""
    try:
        row = read(number, record)
    except (csv.Error, KeyError, TypeError, ValueError):
        return False
    if row is None or row["error"] or row.get("sorted_to") is None:
        return row is not None
    return os.path.isfile(row["sorted_to"])  # a path that was cut short may be that of a folder


def _is_cut_short(tail: bytes, start: bytes) -> bool:
    """Returns whether this is a row of ours that was cut short, and no more; a power cut can leave zeros behind it."""
    row = tail.rstrip(b"\0")
    return b"\n" not in tail and len(tail) <= LONGEST_ROW and row.startswith(start[: len(row)])


def _records(stream: IO[bytes], *, quoted: bool) -> Iterator[bytes]:
    """Returns records with their line ends; the last may be without. In CSV a quoted cell may hold lines of its own."""
    record = b""
    while line := stream.readline(LONGEST_ROW):
        record += line
        if len(record) > LONGEST_ROW or (record.endswith(b"\n") and not (quoted and record.count(b'"') % 2)):
            yield record
            record = b""
    if record:
        yield record


def _is_among(path: str, hashes: NDArray[np.uint64]) -> bool:
    if not len(hashes):
        return False
    key = _hash(path)
    index = int(np.searchsorted(hashes, key))
    return index < len(hashes) and bool(hashes[index] == key)


def _hash(path: str) -> np.uint64:
    digest = hashlib.blake2b(path.encode("utf-8", "surrogateescape"), digest_size=8).digest()
    return np.uint64(int.from_bytes(digest, "big"))
