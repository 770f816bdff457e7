"""Writes files whole or not at all: beside their place first, then moved there."""

import contextlib
import errno
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from catsdogs_edge.errors import OutputError

_WRITE_ERRORS = {errno.EACCES, errno.EDQUOT, errno.EFBIG, errno.ENOSPC, errno.EPERM, errno.EROFS}


def check_writable(folder: Path) -> None:
    """Finds out early, and without leaving anything, whether files can be put into a folder.

    Args:
        folder: Need not exist yet.

    Raises:
        OutputError: They cannot.
    """
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        raise OutputError(f"{folder} cannot be written: {error.strerror}") from error


@contextmanager
def staged(folder: Path) -> Iterator[Path]:
    """Gives a temporary folder whose files are moved into `folder` when the block ends well.

    If the block raises, the temporary folder is removed and `folder` is as it was before, or
    absent if it was.

    Args:
        folder: The destination; made if it is missing.

    Raises:
        OutputError: The destination cannot be written, or the disk is full.
    """
    created = [parent for parent in (folder, *folder.parents) if not parent.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        stage = Path(tempfile.mkdtemp(prefix=".catsdogs-", dir=folder))
    except OSError as error:
        raise OutputError(f"{folder} cannot be written: {error.strerror}") from error
    try:
        yield stage
        for file in sorted(stage.iterdir()):
            file.replace(folder / file.name)
        created.clear()
    except OSError as error:
        if error.errno in _WRITE_ERRORS:
            raise OutputError(f"{folder} cannot be written: {error.strerror}") from error
        raise
    finally:
        shutil.rmtree(stage, ignore_errors=True)
        with contextlib.suppress(OSError):  # somebody else has put something there meanwhile
            for parent in created:
                parent.rmdir()


@contextmanager
def staged_file(path: Path) -> Iterator[Path]:
    """Gives a temporary path whose file is moved to `path` when the block ends well; see `staged`."""
    with staged(path.parent) as stage:
        yield stage / path.name
