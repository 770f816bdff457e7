"""Looks at every image before training: which cannot be read, which are there twice?"""

import hashlib
import logging
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import imagehash
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from catsdogs_edge.errors import ImageError
from catsdogs_edge.images.decode import decoded, read_bytes, resize
from catsdogs_edge.images.similarity import EDGE, centre, find_near, thumbnail
from catsdogs_edge.output.progress import progress
from catsdogs_edge.runtime.cpu import usable_cpus
from catsdogs_train.data.cache import cache_folder

_log = logging.getLogger(__name__)

NEAR = 6
"""Bits of 64 by which the perceptual hashes of two files of one image may differ.

On 4,000 photographs of cats and dogs, pairs up to 4 bits apart were the same image, scaled or saved anew; from 8 on
they were different images.
"""

_HASHED_SIZE = 64

_REMEMBERED_AT_ONCE = 1000
_FORMAT = 4  # of the cache; raise it when `Finding` changes, or how it is computed
_VERSION = f"{cv2.__version__} {imagehash.__version__} {_FORMAT}"
_SELECT = f"SELECT sha256, bits, thumbnail, problem FROM findings WHERE version = '{_VERSION}'"  # noqa: S608 - our own words


@dataclass(frozen=True, slots=True)
class Finding:
    """What is known about one file."""

    sha256: str
    """SHA-256 of the content, in hexadecimal; empty if the file cannot be read at all."""
    bits: int
    """Perceptual hash (pHash: signs of the low frequencies of a cosine transform), 64 bits; 0 if it is no image."""
    thumbnail: bytes
    """From `images.similarity.thumbnail`; empty if it is no image."""
    problem: str
    """Why it is no image; empty if it is one."""


def examine(paths: Sequence[Path], cache: Path | None = None) -> list[Finding]:
    """Reads, decodes and hashes files on all cores, and remembers what it found out about each content.

    `cache` is the SQLite file to remember in; one in the user's cache folder if None.
    """
    with _Memory(cache) as memory, ThreadPoolExecutor(usable_cpus()) as pool, progress(paths) as advance:
        known = memory.recall()
        findings: list[Finding] = []
        for start in range(0, len(paths), _REMEMBERED_AT_ONCE):
            found = []
            for finding in pool.map(lambda path: _examine(path, known), paths[start : start + _REMEMBERED_AT_ONCE]):
                found.append(finding)
                advance(1)
            memory.remember(item for item in found if item.sha256 and item.sha256 not in known)
            findings += found
    return findings


def group_near_copies(paths: Sequence[Path]) -> list[int]:
    """Returns a number for each image that near copies of it share."""
    return near_groups(examine(paths))


def near_ones(images: Sequence[Finding], others: Sequence[Finding]) -> list[int | None]:
    """Finds for each image one of the others that is nearly the same: its index, or None."""
    bits, thumbnails = _arrays(others)
    found: list[int | None] = []
    for own_bits, own_thumbnail in zip(*_arrays(images), strict=True):
        close = _close(bits, thumbnails, own_bits, own_thumbnail)
        found.append(int(close[0]) if len(close) else None)
    return found


def near_groups(images: Sequence[Finding]) -> list[int]:
    """Returns for each image the smallest index of those that are nearly the same (its own, if it is alone)."""
    bits, thumbnails = _arrays(images)
    groups = np.arange(len(images))
    for n in range(1, len(images)):  # a list of all pairs would take gigabytes, of the frames of a still camera
        near = np.unique(groups[_close(bits[:n], thumbnails[:n], bits[n], thumbnails[n])])
        if len(near):
            groups[n] = near[0]
        if len(near) > 1:  # this one joins them
            groups[np.isin(groups, near)] = near[0]
    return [int(group) for group in groups]


def _close(
    bits: NDArray[np.uint64], thumbnails: NDArray[np.float32], own_bits: np.uint64, own_thumbnail: NDArray[np.float32]
) -> NDArray[np.intp]:
    """Returns the indices of those that are nearly the same as one image.

    Both must be close: the hash sees shapes alone, which drawings of one kind share, and frames of one camera.
    """
    found = np.flatnonzero(np.bitwise_count(bits ^ own_bits) <= NEAR)
    return np.asarray(found[find_near(thumbnails[found], own_thumbnail)], np.intp)


def _arrays(images: Sequence[Finding]) -> tuple[NDArray[np.uint64], NDArray[np.float32]]:
    """Returns hashes, shape (N,), and thumbnails around their medians, shape (N, 3 * EDGE * EDGE)."""
    bits = np.array([image.bits for image in images], np.uint64)
    thumbnails = [centre(image.thumbnail or bytes(3 * EDGE * EDGE)) for image in images]
    return bits, np.reshape(np.array(thumbnails, np.float32), (len(images), 3 * EDGE * EDGE))


def _examine(path: Path, known: dict[str, Finding]) -> Finding:
    try:
        data = read_bytes(path)
    except ImageError as error:
        return Finding("", 0, b"", str(error))
    sha256 = hashlib.sha256(data).hexdigest()
    if sha256 in known:
        return known[sha256]
    try:
        with decoded(data) as rgb:
            small, tiny = resize(rgb, _HASHED_SIZE), thumbnail(rgb)
    except ImageError as error:
        return Finding(sha256, 0, b"", str(error))
    return Finding(sha256, int(str(imagehash.phash(Image.fromarray(small))), 16), tiny, "")


class _Memory:
    """What was found out about contents, in an SQLite file; where that cannot be, nothing is remembered."""

    def __init__(self, cache: Path | None) -> None:
        self._path = cache or cache_folder() / f"audit-{_FORMAT}.sqlite"
        self._connection: sqlite3.Connection | None = None

    def __enter__(self) -> "_Memory":
        with self._forgiving():
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(self._path, timeout=20)
            columns = "sha256 TEXT PRIMARY KEY, version TEXT, bits TEXT, thumbnail BLOB, problem TEXT"
            self._connection.execute(f"CREATE TABLE IF NOT EXISTS findings ({columns})")
        return self

    def __exit__(self, *_: object) -> None:
        if self._connection is not None:
            self._connection.close()

    def recall(self) -> dict[str, Finding]:
        """Returns all that is known, by hash."""
        with self._forgiving():
            if self._connection is not None:
                rows = self._connection.execute(_SELECT).fetchall()
                return {row[0]: Finding(row[0], int(row[1], 16), *row[2:]) for row in rows}
        return {}

    def remember(self, findings: Iterable[Finding]) -> None:
        """Adds some, for good."""
        rows = [(item.sha256, _VERSION, f"{item.bits:x}", item.thumbnail, item.problem) for item in findings]
        with self._forgiving():
            if self._connection is not None:
                insert = "INSERT OR REPLACE INTO findings VALUES (?, ?, ?, ?, ?)"
                self._connection.executemany(insert, rows)
                self._connection.commit()

    @contextmanager
    def _forgiving(self) -> Iterator[None]:
        """Goes on without a memory when it fails: read-only, full, damaged, or locked for long."""
        try:
            yield
        except sqlite3.ProgrammingError:
            raise  # a bug of ours
        except (OSError, sqlite3.Error) as error:
            _log.info("what is found out about images is not remembered: %s: %s", self._path, error)
            if self._connection is not None:
                self._connection.close()
            self._connection = None
