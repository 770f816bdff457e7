"""Goes on with an output file that was cut short: which images does it already hold?"""

import csv
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, TypeAlias

import numpy as np
from numpy.typing import NDArray

from catsdogs_edge.errors import OutputError
from catsdogs_edge.output.files import write_errors
from catsdogs_edge.output.rows import STANDARD_OUTPUT

Done: TypeAlias = NDArray[np.uint64]
"""Hashes of paths, sorted, shape (N,): 8 bytes each, where a million paths would take 100 MB."""

NOTHING: Done = np.zeros(0, np.uint64)

_LONGEST_ROW = 2**16  # bytes: a path has 4096 at most
_JSON_START = b'{"path": "'


def resume_csv(path: Path, columns: Sequence[str]) -> Done:
    """Reads the first column of a CSV file, and cuts off a last row that is not whole; it need not exist.

    Raises `OutputError` where it has other columns, or is damaged elsewhere than at its end; it is left as it is then.
    """

    def read(number: int, record: bytes) -> str | None:
        (cells,) = csv.reader([record.decode("utf-8", "surrogateescape")])
        if number == 0 and cells != list(columns):
            raise ValueError(f"the columns are {','.join(cells)}, expected {','.join(columns)}")
        if len(cells) != len(columns):
            raise ValueError(f"it has {len(cells)} columns, expected {len(columns)}")
        return cells[0] if number else None

    return _resume(path, read, quoted=True, start=b"")


def resume_jsonl(path: Path) -> Done:
    """Reads the field `path` of JSON Lines; see `resume_csv`."""

    def read(_: int, record: bytes) -> str | None:
        return str(json.loads(record.decode("utf-8", "surrogateescape"))["path"])

    return _resume(path, read, quoted=False, start=_JSON_START)


def skip_done(paths: Iterable[Path], done: Done) -> Iterator[Path]:
    """Leaves out the paths that an output file already holds."""
    for path in paths:
        key = _hash(str(path))
        index = int(np.searchsorted(done, key))
        if index == len(done) or done[index] != key:
            yield path


def _resume(path: Path, read: Callable[[int, bytes], str | None], *, quoted: bool, start: bytes) -> Done:
    """Reads the paths; `quoted` records may hold line ends between quotes, `start` is how a row of ours begins."""
    if path == STANDARD_OUTPUT:
        raise OutputError("--resume needs a file, not standard output")
    if not path.exists():
        return NOTHING
    hashes: list[np.uint64] = []
    number, end = 0, 0
    with write_errors(path), path.open("r+b") as stream:
        try:
            for number, record in enumerate(_records(stream, quoted=quoted)):
                if not record.endswith(b"\n"):
                    if (number == 0 and quoted) or not _is_cut_short(record, start):
                        raise ValueError("it does not end")
                    break
                name = read(number, record)
                if name is not None:
                    hashes.append(_hash(name))
                end += len(record)
        except (csv.Error, KeyError, TypeError, ValueError) as error:
            raise OutputError(
                f"{path} cannot be resumed: record {number + 1} is not one of ours ({error}): was it made with another "
                "model, or other options? Take another file"
            ) from error
        stream.truncate(end)
    return np.sort(np.array(hashes, np.uint64))


def _is_cut_short(tail: bytes, start: bytes) -> bool:
    """Returns whether this is a row of ours that was cut short, and no more."""
    return b"\n" not in tail and len(tail) <= _LONGEST_ROW and tail.startswith(start[: len(tail)])


def _records(stream: BinaryIO, *, quoted: bool) -> Iterator[bytes]:
    """Returns records with their line ends; the last may be without. In CSV a quoted cell may hold lines of its own."""
    record = b""
    while line := stream.readline(_LONGEST_ROW):
        record += line
        if len(record) > _LONGEST_ROW or (record.endswith(b"\n") and not (quoted and record.count(b'"') % 2)):
            yield record
            record = b""
    if record:
        yield record


def _hash(path: str) -> np.uint64:
    digest = hashlib.blake2b(path.encode("utf-8", "surrogateescape"), digest_size=8).digest()
    return np.uint64(int.from_bytes(digest, "big"))
