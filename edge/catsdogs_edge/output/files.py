"""Writes files whole or not at all: beside their place first, then moved there."""

import codecs
import contextlib
import errno
import hashlib
import io
import os
import re
import shutil
import stat
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from catsdogs_edge.errors import OutputError
from catsdogs_edge.output.names import exchange, put_in_place

WRITE_ERRORS = frozenset(
    {
        errno.EACCES, errno.EBUSY, errno.EDQUOT, errno.EFBIG, errno.EINVAL, errno.EIO, errno.EISDIR, errno.ELOOP,
        errno.EMFILE, errno.ENAMETOOLONG, errno.ENFILE, errno.ENOENT, errno.ENOSPC, errno.ENOTCONN, errno.ENOTDIR,
        errno.ENXIO, errno.EPERM, errno.EROFS, errno.ESTALE, errno.ETIMEDOUT, errno.EXDEV,
    }
)  # fmt: skip
"""Error numbers that tell of the place that is written to, or of the limits of the process, not of a bug."""

_STAGE = re.compile(r"\.catsdogs-[0-9a-f]{16}")
_LONGEST_TEXT = 2**26  # bytes
_A_DAY = 86_400  # seconds
_LONGEST_START = 4096  # bytes of a plot in which it says what made it


def is_filled(path: Path) -> bool:
    """Returns whether there is a file with something in it; others may remove it at any moment."""
    try:
        found = path.stat()
    except OSError:
        return False
    return stat.S_ISREG(found.st_mode) and found.st_size > 0


def check_outputs(outputs: Iterable[Path | None], inputs: Iterable[str | Path]) -> None:
    """Checks that nothing is written over what is read, or twice to one place; raises `OutputError` if so.

    Inputs are as the user wrote them: files, folders, `@list`, and things that are no files at all.
    """
    seen = {_identity(str(source).removeprefix("@")): f"the input {source}" for source in inputs if str(source) != "-"}
    for output in outputs:
        if output is not None:
            identity = _identity(str(output))
            if identity in seen:
                raise OutputError(f"{output} would be written over {seen[identity]}: choose another place")
            seen[identity] = f"the output {output}"


def _identity(path: str) -> tuple[int, int] | str:
    """Returns the same for two names of one file."""
    try:
        status = os.stat(path)  # noqa: PTH116 - a string that may be no path at all
    except (OSError, ValueError):
        return os.path.abspath(path)  # noqa: PTH100 - likewise
    return status.st_dev, status.st_ino


def check_plot(path: Path) -> None:
    """Refuses to replace an image that is no plot of ours, such as a photograph; raises `OutputError`.

    What `atomic_file` refuses, too, before there is something to write.
    """
    _check_name(path)
    if is_filled(path):
        with write_errors(path), path.open("rb") as stream:
            if b"Matplotlib" not in stream.read(_LONGEST_START):
                raise OutputError(f"{path} holds another image: remove it, or take another name")


def is_utf8(path: str | Path) -> bool:
    """Returns whether a name can be given to libraries that take UTF-8 alone."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def read_text(path: Path) -> str:
    """Reads a text that a user wrote: UTF-8, or UTF-16 as PowerShell writes it; raises `OSError`, `UnicodeError`."""
    with path.open("rb") as stream:
        data = stream.read(_LONGEST_TEXT + 1)
    if len(data) > _LONGEST_TEXT:  # such as /dev/zero
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), str(path))
    is_utf16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return data.decode("utf-16" if is_utf16 else "utf-8-sig").replace("\r\n", "\n")


def check_writable(folder: Path) -> None:
    """Finds out early whether files can be put into a folder, which need not exist; raises `OutputError`."""
    import tempfile  # noqa: PLC0415 - 5 ms that `--help` need not wait for

    try:
        with tempfile.TemporaryFile(dir=existing_folder(folder)):
            pass
    except OSError as error:
        raise OutputError(f"{folder} cannot be written: {error.strerror}") from error


def existing_folder(folder: Path) -> Path:
    """Returns a folder, or the nearest above it that exists."""
    for path in (folder, *folder.parents):
        if path.exists():
            return path
    raise OutputError(f"{folder} cannot be written: there is no drive {folder.anchor}")


def make_folder(folder: Path) -> None:
    """Makes a folder, and those that it lies in, unless they are there; raises `OutputError` where it cannot."""
    with write_errors(folder):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except FileExistsError as error:
            raise OutputError(f"{folder} cannot be written: there is a file where a folder is expected") from error


@contextmanager
def atomic_files(folder: Path) -> Iterator[Path]:
    """Yields a temporary folder whose files are moved into `folder` when the block ends well.

    If the block raises, the temporary folder is removed and `folder` is as it was before, or absent if it was. Raises
    `OutputError` where it cannot be written, or the disk is full.
    """
    stage = folder / f".catsdogs-{os.urandom(8).hex()}"
    with _temporary_folder(stage, folder):
        yield stage
        for file in stage.iterdir():
            sync(file)
        for file in sorted(stage.iterdir()):
            put_in_place(file, folder / file.name)
        sync(folder)


def remove_old_stages(folder: Path) -> None:
    """Removes what `atomic_files` left in a folder where the process was killed, once it is a day old."""
    for stage in folder.glob(".catsdogs-*"):
        with contextlib.suppress(OSError):  # another process has removed it, or it is somebody else's
            is_stage = _STAGE.fullmatch(stage.name) and stat.S_ISDIR(stage.lstat().st_mode)
            if is_stage and time.time() - stage.lstat().st_mtime > _A_DAY:
                shutil.rmtree(stage)


@contextmanager
def replace_folder(folder: Path, own: frozenset[str]) -> Iterator[Path]:
    """Yields a temporary folder that takes the place of `folder` as a whole when the block ends well.

    On Linux and macOS the two change places in one step, after their content has reached the disk: whoever looks, even
    after a power cut, finds all the old files or all the new ones, never some of each. Elsewhere there is a moment
    between. Raises `OutputError` where `folder` holds other files than those named in `own`, cannot be exchanged or
    written, or the disk is full.
    """
    folder = folder.resolve()
    _check_exchangeable(folder, own)
    _remove_leftovers(folder)
    stage = folder.with_name(f".{folder.name}.new-{os.getpid()}-{os.urandom(4).hex()}")
    with _temporary_folder(stage, folder):
        yield stage
        if folder.exists():
            shutil.copymode(folder, stage)
        for path in (*stage.iterdir(), stage):
            sync(path)
        _check_exchangeable(folder, own)  # somebody may have put something there meanwhile
        exchange(stage, folder)
        sync(folder.parent)


@contextmanager
def _temporary_folder(stage: Path, folder: Path) -> Iterator[None]:
    """Makes a folder and removes it at the end; where the block fails, also those that were made to hold it."""
    created = [parent for parent in stage.parents if not parent.exists()]
    try:
        try:
            stage.mkdir(parents=True)
        except OSError as error:
            raise OutputError(f"{folder} cannot be written: {error.strerror}") from error
        with write_errors(folder):
            yield
        created.clear()
    finally:
        shutil.rmtree(stage, ignore_errors=True)
        with contextlib.suppress(OSError):  # somebody else has put something there meanwhile
            for parent in created:
                parent.rmdir()


def _check_exchangeable(folder: Path, own: frozenset[str]) -> None:
    """Refuses a folder whose exchange would take away more than our own files."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise OutputError(f"{folder} is a file, expected a folder")
    if folder == Path.cwd() or folder in Path.cwd().parents or os.path.ismount(folder):
        raise OutputError(f"{folder} is the current folder or a mount point: choose a folder inside it")
    others = sorted(path.name for path in folder.iterdir() if path.name not in own or not path.is_file())
    if others:
        raise OutputError(f"{folder} holds other files ({others[0]}): choose a folder of its own, or a new one")


def _remove_leftovers(folder: Path) -> None:
    """Removes what processes that were killed left beside a folder."""
    if sys.platform == "win32":
        return  # os.kill would end the process that it asks for
    for stage in folder.parent.glob(f".{folder.name}.new-*-*"):
        pid = stage.name.split("-")[-2]
        if pid.isdecimal():
            try:
                os.kill(int(pid), 0)
            except ProcessLookupError:
                shutil.rmtree(stage, ignore_errors=True)
            except PermissionError:
                continue  # somebody else's, and alive


def sync(path: Path) -> None:
    """Waits until a file, or the list of a folder's files, is on the disk."""
    if sys.platform == "win32" and path.is_dir():
        return
    descriptor = os.open(path, os.O_RDONLY if sys.platform != "win32" else os.O_RDWR)
    try:
        flush(descriptor)
    except OSError as error:
        if error.errno not in {errno.EINVAL, errno.ENOTSUP} or not path.is_dir():  # network disks
            raise
    finally:
        os.close(descriptor)


def flush(descriptor: int) -> None:
    """Waits until what was written to an open file is on the disk, on macOS also out of the disk's own memory."""
    if sys.platform == "darwin":
        import fcntl  # noqa: PLC0415 - not on Windows

        with contextlib.suppress(OSError):  # a network disk, or another that cannot
            fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
            return
    os.fsync(descriptor)


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yields a temporary path whose file is moved to `path` when the block ends well; see `atomic_files`.

    A device or a pipe is written directly. Raises `OutputError` for a link to a file: somebody else may have made it.
    """
    _check_name(path)
    if path.exists() and not path.is_file():
        with write_errors(path):
            yield path
        return
    path = path.absolute()
    with atomic_files(path.parent) as stage:
        yield stage / path.name


def _check_name(path: Path) -> None:
    if path.is_dir():
        raise OutputError(f"{path} is a folder, expected the name of a file")
    if path.is_symlink() and (path.is_file() or not path.exists()):
        raise OutputError(f"{path} is a link, and files are not written through links: name the file itself")


def sha256(path: Path) -> str:
    """Returns the SHA-256 of a file in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_all(file: io.FileIO, data: bytes) -> None:
    """Writes all of it: where a disk gets full, a part may be taken first, and the error comes with the rest."""
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) or 0 :]


@contextmanager
def write_errors(folder: Path) -> Iterator[None]:
    """Turns a full disk and its like into one clear error."""
    try:
        yield
    except OSError as error:
        if error.errno in WRITE_ERRORS:
            raise OutputError(f"{folder} cannot be written: {error.strerror}") from error
        raise
