"""Sorts classified pictures into one folder for each label, without ever overwriting a file."""

import contextlib
import errno
import os
import shutil
import tempfile
from enum import StrEnum
from pathlib import Path

from catsdogs_edge.errors import OutputError
from catsdogs_edge.files import make_folder, numbered, write_errors

_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK, errno.EXDEV, errno.EACCES}


class _NoLinksError(Exception):
    """The file system has no hard links, or not between these two folders."""


class How(StrEnum):
    """What happens to the original."""

    COPY = "copy"
    """It stays."""
    MOVE = "move"
    """It is gone, once it is whole in its new place."""


class Sorter:
    """Puts pictures into `FOLDER/LABEL/`, under their own name or, where that is taken, `name (2).jpg`."""

    def __init__(self, folder: Path, how: How, classes: tuple[str, ...]) -> None:
        """Checks the folder and the labels.

        Raises:
            OutputError: The folder cannot be written, or a label cannot be the name of one.
        """
        for label in classes:
            if label in {"", ".", ".."} or set(label) & {"/", "\\", "\0"}:
                raise OutputError(f"the model's label '{label}' cannot be the name of a folder")
        self.folder = folder
        self._how = how
        for label in classes:
            make_folder(folder / label)

    def put(self, path: Path, label: str) -> Path:
        """Copies or moves one picture; a link becomes the picture that it points to.

        Returns:
            Where it is now.

        Raises:
            OutputError: The disk is full, or the original cannot be removed; then it is still there.
        """
        try:
            with write_errors(self.folder):
                target = _put(path, self.folder / label, self._how)
        except FileNotFoundError as error:
            raise OutputError(f"{path} has gone since it was classified") from error
        if self._how is How.MOVE:
            try:
                path.unlink()
            except OSError as error:
                target.unlink()
                raise OutputError(f"{path} cannot be moved away: {error.strerror}; use --copy") from error
        return target


def _put(path: Path, folder: Path, how: How) -> Path:
    """Gives a picture, or a copy that is made whole first, a name that nobody has."""
    if how is How.MOVE:
        with contextlib.suppress(_NoLinksError):  # another disk, or one without hard links
            return _name(path, folder / path.name)
    descriptor, name = tempfile.mkstemp(prefix=".catsdogs-", dir=folder)
    os.close(descriptor)
    temporary = Path(name)
    try:
        shutil.copy2(path, temporary)
        try:
            return _name(temporary, folder / path.name)
        except _NoLinksError:
            return _reserve(temporary, folder / path.name)
    finally:
        temporary.unlink(missing_ok=True)


def _name(file: Path, wanted: Path) -> Path:
    """Gives a file one more name in one step: the first that is free."""
    for target in numbered(wanted):
        try:
            os.link(file, target)
        except FileExistsError:
            continue
        except OSError as error:
            if error.errno in _NO_LINKS:
                raise _NoLinksError from error
            raise
        return target
    raise AssertionError  # numbers do not end


def _reserve(file: Path, wanted: Path) -> Path:
    """The same without hard links: takes the name with an empty file, and puts the file in its place."""
    for target in numbered(wanted):
        with contextlib.suppress(FileExistsError):
            target.touch(exist_ok=False)
            return file.replace(target)
    raise AssertionError
