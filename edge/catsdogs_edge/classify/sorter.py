"""Sorts classified images into one folder for each label, without ever overwriting a file."""

import contextlib
import errno
import os
import shutil
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO

from catsdogs_edge.errors import ImageError, OutputError
from catsdogs_edge.output.files import FreeNames, make_folder, write_errors

_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK, errno.EXDEV, errno.EACCES}


class _NoLinksError(Exception):
    """The file system has no hard links, or not between these two folders."""


class FileMode(StrEnum):
    """What happens to the original."""

    COPY = "copy"
    MOVE = "move"
    """The original is removed once the copy is whole in its new place."""


class Sorter:
    """Puts images into `FOLDER/LABEL/`, under their own name or, where that is taken, `name (2).jpg`."""

    def __init__(self, folder: Path, mode: FileMode, labels: tuple[str, ...]) -> None:
        """Makes a folder for each label; raises `OutputError` where that cannot be."""
        self._folder = folder
        self._mode = mode
        self._names = FreeNames()
        for label in labels:
            make_folder(folder / label)

    def put(self, path: Path, label: str) -> Path:
        """Puts one image into its folder and returns where it is now; the original stays until `finish`.

        A link becomes a copy of the image that it points to. Raises `ImageError` where the original cannot be read any
        more, `OutputError` where the disk is full.
        """
        wanted = self._folder / label / path.name
        if self._mode is FileMode.MOVE and not path.is_symlink():
            with contextlib.suppress(_NoLinksError), write_errors(self._folder):  # another disk, or one without links
                return self._link(path, wanted)
        try:
            source = path.open("rb")
        except OSError as error:
            raise ImageError(f"cannot be read any more: {error.strerror}") from error
        with source, write_errors(self._folder):
            return self._copy(source, path, wanted)

    def finish(self, path: Path, target: Path) -> None:
        """Removes the original of an image that was moved; undoes the move and raises `OutputError` where it cannot."""
        if self._mode is FileMode.MOVE:
            try:
                path.unlink()
            except OSError as error:
                target.unlink()
                raise OutputError(f"{path} cannot be moved away: {error.strerror}; use --copy") from error

    def _copy(self, source: BinaryIO, path: Path, wanted: Path) -> Path:
        """Makes a whole copy first, and then gives it a name that nobody has."""
        temporary = wanted.with_name(f".catsdogs-{os.urandom(8).hex()}")
        try:
            with open(temporary, "xb", opener=lambda name, flags: os.open(name, flags, 0o600)) as copy:
                shutil.copyfileobj(source, copy)
            shutil.copystat(path, temporary)
            try:
                return self._link(temporary, wanted)
            except _NoLinksError:
                return self._reserve(temporary, wanted)
        finally:
            temporary.unlink(missing_ok=True)

    def _link(self, file: Path, wanted: Path) -> Path:
        """Links a file to one more name in one step: the first that is free, or that is its own already."""
        for target in self._names.candidates(wanted):
            try:
                os.link(file, target)
            except FileExistsError:
                if not target.samefile(file):  # it is, where an earlier run was killed in between
                    continue
            except FileNotFoundError as error:
                raise ImageError("has gone since it was classified") from error
            except OSError as error:
                if error.errno in _NO_LINKS:
                    raise _NoLinksError from error
                raise
            return target
        raise AssertionError  # names do not end

    def _reserve(self, file: Path, wanted: Path) -> Path:
        """The same without hard links: takes the name with an empty file, and puts the file in its place."""
        for target in self._names.candidates(wanted):
            with contextlib.suppress(FileExistsError):
                target.touch(exist_ok=False)
                return file.replace(target)
        raise AssertionError
