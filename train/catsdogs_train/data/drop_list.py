"""Reads which images shall be left out: a `worst.csv` that somebody has looked through."""

import codecs
import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from catsdogs_edge.errors import DataError


@dataclass(frozen=True, slots=True)
class DropList:
    """Images to leave out, by content and by path."""

    file: Path
    """Where that stands."""
    hashes: frozenset[str]
    """SHA-256 in hexadecimal: the same images wherever they lie, and whatever they are called."""
    paths: frozenset[Path]
    """Absolute paths of those that are listed without."""

    @classmethod
    def read(cls, file: Path) -> "DropList":
        """Reads a CSV with a column `sha256`, or `path`, or both; raises `DataError` for one without.

        A relative path is seen from the current folder.
        """
        hashes, paths = set(), set()
        try:
            data = file.read_bytes()
            is_utf16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))  # as programs on Windows write it
            text = data.decode("utf-16") if is_utf16 else data.decode("utf-8-sig", "surrogateescape")
            with io.StringIO(text, newline="") as stream:
                reader = csv.DictReader(stream)
                if not {"sha256", "path"} & set(reader.fieldnames or ()):
                    found = ", ".join(reader.fieldnames or ["none"])
                    raise DataError(f"--drop {file} has the columns {found}, expected path or sha256")
                for row in reader:
                    if str(next(iter(row.values()))).startswith("#"):  # a line that somebody has taken out
                        continue
                    path, sha256 = ((row.get(name) or "").strip() for name in ("path", "sha256"))
                    if sha256:
                        hashes.add(sha256.lower())
                    elif path:
                        paths.add(Path(row["path"]).resolve())
        except (OSError, ValueError, csv.Error) as error:
            if isinstance(error, DataError):
                raise
            raise DataError(f"--drop {file} cannot be read: {getattr(error, 'strerror', None) or error}") from error
        return cls(file, frozenset(hashes), frozenset(paths))

    def count_missing(self, images: Iterable[tuple[Path, str]]) -> int:
        """Returns how many entries name none of the images, each a path and its SHA-256."""
        images = list(images)
        there = {path.resolve() for path, _ in images} if self.paths else set()
        return len(self.hashes.difference(sha256 for _, sha256 in images)) + len(self.paths - there)

    def has(self, path: Path, sha256: str) -> bool:
        """Returns whether an image is listed."""
        return sha256 in self.hashes or (bool(self.paths) and path.resolve() in self.paths)
