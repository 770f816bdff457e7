"""Names of files and folders: takes those that are free, and exchanges two, in one step where the system can."""

import errno
import itertools
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

_NOT_IN_ONE_STEP = frozenset({errno.ENOSYS, errno.EINVAL, errno.ENOTSUP})
_LONGEST_ENDING = 50  # bytes; what is longer behind the last dot is no ending
_LONGEST_NAME = 255  # bytes, on all usual file systems
_TRIES = 20  # almost four seconds in all


class FreeNames:
    """Names for files that must not overwrite any: `name.jpg`, `name (2).jpg`, `name (3).jpg`, ..."""

    def __init__(self) -> None:
        self._next: dict[Path, int] = {}

    def candidates(self, wanted: Path) -> Iterator[Path]:
        """Yields names, most wanted first, without end; those that were passed over before are not tried again."""
        for number in itertools.count(self._next.get(wanted, 1)):
            is_ending = len(os.fsencode(wanted.suffix)) <= _LONGEST_ENDING
            suffix, stem = (wanted.suffix, wanted.stem) if is_ending else ("", wanted.name)
            end = suffix if number == 1 else f" ({number}){suffix}"
            while len(os.fsencode(stem + end)) > _LONGEST_NAME:
                stem = stem[:-1]
            yield wanted.with_name(stem + end)
            self._next[wanted] = number + 1


def reserve(names: Iterable[Path]) -> Path:
    """Makes an empty file under the first name that is free, through no link, and returns it; names must not end."""
    for path in names:
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        except FileExistsError:
            continue
        return path
    raise AssertionError  # names do not end


@contextmanager
def reserved(names: Iterable[Path]) -> Iterator[Path]:
    """Yields the first name that is free, to be written to, as `reserve`; where that fails, nothing is left of it."""
    path = reserve(names)
    try:
        yield path
    except OSError:  # an OutputError, too, such as of a full disk
        path.unlink(missing_ok=True)
        raise


def put_in_place(new: Path, old: Path) -> None:
    """Moves a file over another, or a folder to a free name, in one step; see `_patiently`."""
    _patiently(lambda: new.replace(old))


def _patiently(rename: Callable[[], object]) -> None:
    """Renames what on Windows another program may have open for a moment.

    Scanners and indexers do so with whatever is new, and Windows refuses it meanwhile: it is tried for some seconds.
    """
    for number in range(1, _TRIES):
        try:
            rename()
        except PermissionError:
            if sys.platform != "win32":
                raise
            time.sleep(0.02 * number)
        else:
            return
    rename()


def exchange(new: Path, old: Path) -> None:
    """Lets two files, or folders, change places, or moves the new one where there is no old one."""
    if not old.exists():
        put_in_place(new, old)
        return
    failed = _rename_with(new, old, "exchange")
    if failed in _NOT_IN_ONE_STEP:
        _exchange_in_steps(new, old)
    elif failed:
        raise OSError(failed, os.strerror(failed), str(old))


def rename_to_free(file: Path, name: Path) -> None:
    """Gives a file another name, if nobody has it; raises `FileExistsError` where somebody has.

    Where the system or the file system cannot do it in one step, an empty file keeps the name until it is done.
    """
    failed = _rename_with(file, name, "no replace")
    if failed in _NOT_IN_ONE_STEP:
        name.touch(exist_ok=False)
        try:
            file.replace(name)
        except OSError:
            name.unlink(missing_ok=True)
            raise
    elif failed:
        raise OSError(failed, os.strerror(failed), str(name))


def _rename_with(old: Path, new: Path, how: str) -> int:
    """Renames in one step, as renameat2(2) and renamex_np(2) can, and returns the number of an error, or 0."""
    if sys.platform == "win32" and how == "no replace":  # as every rename there
        try:
            _patiently(lambda: old.rename(new))
        except OSError as error:
            return error.errno or errno.EIO
        return 0
    import ctypes  # noqa: PLC0415 - 3 ms that `--help` need not wait for

    here, there = os.fsencode(old), os.fsencode(new)
    if sys.platform == "linux":
        at_cwd, flags = -100, {"no replace": 1, "exchange": 2}[how]
        libc = ctypes.CDLL(None, use_errno=True)
        return int(libc.renameat2(at_cwd, here, at_cwd, there, flags) and ctypes.get_errno())
    if sys.platform == "darwin":
        flags = {"exchange": 2, "no replace": 4}[how]
        libc = ctypes.CDLL(None, use_errno=True)
        return int(libc.renamex_np(here, there, flags) and ctypes.get_errno())
    return errno.ENOSYS


def _exchange_in_steps(new: Path, old: Path) -> None:
    """The same where the system or the file system cannot do it in one step."""
    aside = new.with_name(f"{new.name}.old")
    put_in_place(old, aside)
    try:
        put_in_place(new, old)
    except OSError:
        put_in_place(aside, old)
        raise
    put_in_place(aside, new)
