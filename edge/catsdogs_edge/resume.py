"""Goes on with an output file that was cut short: which pictures does it already hold?"""

import csv
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, TypeAlias

import numpy as np
from numpy.typing import NDArray

from catsdogs_edge.errors import OutputError
from catsdogs_edge.files import write_errors
from catsdogs_edge.rows import STANDARD_OUTPUT

Done: TypeAlias = NDArray[np.uint64]
"""Hashes of paths, sorted, shape (N,): 8 bytes each, where a million paths would take 100 MB."""

NOTHING: Done = np.zeros(0, np.uint64)


def resume_csv(path: Path, columns: Sequence[str]) -> Done:
    """Reads the first column of a CSV file, and cuts off a row that is not whole.

    Args:
        path: Need not exist.
        columns: That its header must have.

    Raises:
        OutputError: It is something else.
    """

    def read(record: bytes) -> str | None:
        (cells,) = csv.reader([record.decode("utf-8", "surrogateescape")])
        if len(cells) != len(columns):
            raise ValueError
        return cells[0]

    header = csv.reader([_first_line(path)])
    if path.is_file() and path.stat().st_size and next(header, []) != list(columns):
        raise OutputError(
            f"{path} cannot be resumed: its first line is not '{','.join(columns)}': was it made with another model "
            "or other options? Take another file",
        )
    return _resume(path, read, quoted=True, header=1)


def resume_jsonl(path: Path) -> Done:
    """Reads the field `path` of JSON Lines; see `resume_csv`."""

    def read(record: bytes) -> str | None:
        return str(json.loads(record.decode("utf-8", "surrogateescape"))["path"])

    return _resume(path, read, quoted=False, header=0)


def skip_done(paths: Iterable[Path], done: Done) -> Iterator[Path]:
    """Leaves out the paths that an output file already holds."""
    for path in paths:
        key = _hash(str(path))
        place = int(np.searchsorted(done, key))
        if place == len(done) or done[place] != key:
            yield path


def _resume(path: Path, read: Callable[[bytes], str | None], *, quoted: bool, header: int) -> Done:
    if path == STANDARD_OUTPUT:
        raise OutputError("--resume needs a file, not standard output")
    if not path.is_file():
        return NOTHING
    hashes: list[np.uint64] = []
    end = 0
    with write_errors(path), path.open("r+b") as stream:
        for number, record in enumerate(_records(stream, quoted=quoted)):
            try:
                if number >= header:
                    hashes.append(_hash(read(record) or ""))
            except (KeyError, TypeError, ValueError) as error:
                raise OutputError(
                    f"{path} cannot be resumed: record {number + 1} is not one of ours; take another file"
                ) from error
            end += len(record)
        stream.truncate(end)
    return np.sort(np.array(hashes, np.uint64))


def _records(stream: BinaryIO, *, quoted: bool) -> Iterator[bytes]:
    """Gives whole records with their line ends; in CSV a quoted cell may hold lines of its own."""
    record = b""
    for line in stream:
        record += line
        if record.endswith(b"\n") and not (quoted and record.count(b'"') % 2):
            yield record
            record = b""


def _first_line(path: Path) -> str:
    if not path.is_file():
        return ""
    with path.open("rb") as stream:
        return stream.readline().decode("utf-8", "surrogateescape").rstrip("\n")


def _hash(path: str) -> np.uint64:
    digest = hashlib.blake2b(path.encode("utf-8", "surrogateescape"), digest_size=8).digest()
    return np.uint64(int.from_bytes(digest, "big"))
