"""Sorts classified images into one folder for each label: the one module that moves and copies images.

Whatever is killed or cut, and whoever else works in these folders:

- At every moment each image is whole in at least one place.
- What arrived later under the name of an image is never removed, and no file is ever overwritten.

So an image takes steps, and each of them leaves what the next one needs: `put` gives it one more name in its new folder
(a hard link, or a whole copy that has reached the disk); `sync` brings the folders to the disk; the caller writes its
rows for good; `finish` moves the original aside, looks whether this is what was classified and whether the new place
still holds it, and removes it only then. Where there is a doubt, both stay.
"""

import contextlib
import errno
import filecmp
import logging
import os
import shutil
import signal
import stat
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO, TypeAlias

from catsdogs_edge.errors import ImageError
from catsdogs_edge.images.decode import open_file, read_bytes, read_stream
from catsdogs_edge.output.files import make_folder, sync, write_errors
from catsdogs_edge.output.names import FreeNames, rename_to_free

_log = logging.getLogger(__name__)

FileId: TypeAlias = tuple[int, int, int, int]
"""Device, inode, size in bytes and time of the last change in ns: another file, or other content, has another one."""


_HIDDEN = ".catsdogs-"
_CHANGED = "has gone since it was classified, or is another one"


class _NoLinksError(Exception):
    """The file system has no hard links, or not between these two folders."""


class FileMode(StrEnum):
    """What happens to the original."""

    COPY = "copy"
    MOVE = "move"
    """The original is removed once the copy is whole in its new place."""


@dataclass(slots=True)
class Original:
    """An image that is read once, to be classified, and may be sorted later."""

    path: Path
    id: FileId | None = None
    """Which file was read; None before."""

    @property
    def name(self) -> str:
        """How its row calls it."""
        return str(self.path)

    def read(self) -> bytes:
        """Reads the encoded image; raises `ImageError` where it cannot be read."""
        with open_file(self.path) as stream:
            self.id = _id(os.fstat(stream.fileno()))
            return read_stream(stream)

    def read_again(self) -> bytes:
        """Reads what has its name by now, to look at it: it may be another one."""
        return read_bytes(self.path)


@dataclass(frozen=True, slots=True)
class Placed:
    """An image that is in its new place, while the original is there, too."""

    target: Path
    original: Path
    entry: FileId
    """What has the original's name: the file, or a link to it."""
    copy: FileId
    """What has the target's name."""


class Sorter:
    """Puts images into `FOLDER/LABEL/`, under their own name or, where that is taken, `name (2).jpg`."""

    def __init__(self, folder: Path, mode: FileMode, labels: tuple[str, ...]) -> None:
        """Makes a folder for each label; raises `OutputError` where that cannot be."""
        self._folder = folder
        self._mode = mode
        self._names = FreeNames()
        new = [path for path in (folder.absolute(), *folder.absolute().parents) if not os.path.exists(path)]  # noqa: PTH110 - it may be too long
        self._changed = {folder, *(path.parent for path in new)}
        for label in labels:
            make_folder(folder / label)

    @property
    def moves(self) -> bool:
        """Whether originals are removed."""
        return self._mode is FileMode.MOVE

    def holds(self, path: Path) -> bool:
        """Returns whether an image is in one of the folders for labels."""
        with contextlib.suppress(OSError):
            return path.parent.parent.samefile(self._folder)
        return False

    def put(self, original: Original, label: str) -> Placed:
        """Puts one image into its folder, unless it is there already; the original stays until `finish`.

        A link becomes a copy of the image that it points to. Raises `ImageError` where the original has gone or is
        another one since it was read, or may not be removed; `OutputError` where the disk is full.
        """
        path, wanted = original.path, self._folder / label / original.path.name
        with _open_again(original) as source, write_errors(self._folder):
            entry = _id_of(path)
            if entry is None or (entry != original.id and not path.is_symlink()):
                raise ImageError(_CHANGED)
            if path.name == wanted.name and path.parent.samefile(wanted.parent):
                return Placed(path, path, entry, entry)
            if self.moves and not os.access(path.parent, os.W_OK):
                raise ImageError("cannot be moved away: its folder is read-only; use --copy")
            self._changed.add(wanted.parent)
            if self.moves and entry == original.id:  # no symbolic link
                with contextlib.suppress(_NoLinksError):  # another disk, or one without links
                    target = self._link(path, entry, wanted, source.fileno())
                    return Placed(target, path, entry, _id(os.lstat(target)))
            target = self._copy(source, wanted)
            return Placed(target, path, entry, _id(os.lstat(target)))

    def sync(self) -> None:
        """Waits until all names that `put` gave are on the disk; raises `OutputError` where they cannot be."""
        with write_errors(self._folder):
            for folder in self._changed:
                sync(folder)
        self._changed.clear()

    def finish(self, placed: Placed) -> None:
        """Removes the original of an image that was moved, if that is certain to lose nothing.

        One that has gone by itself is done. Another file that has its name now stays, and so does the only copy. Raises
        `ImageError` where it may not be removed, such as a file that is marked as immutable.
        """
        path = placed.original
        if not self.moves or placed.target == path:
            return
        aside = path.with_name(f"{_HIDDEN}{os.urandom(8).hex()}")
        try:
            if _id_of(path) == placed.entry and _holds(placed.target, placed.copy):
                try:
                    path.rename(aside)
                    if _is_copied(placed, aside):
                        aside.unlink(missing_ok=True)
                finally:
                    self._put_back(aside, path)
        except FileNotFoundError:
            return
        except OSError as error:
            raise ImageError(f"{path} cannot be removed: {error.strerror}; it is also in {placed.target}") from error
        if os.path.lexists(path):
            _log.warning("%s stays: it is not the image that was classified, or the only copy of it.", path)

    def finish_earlier(self, path: Path, target: Path) -> None:
        """Finishes what a run that was killed had written a row about, where both files are certainly the same.

        They are one file, or have the same content and time, as a copy of ours has; neither is a link. Raises
        `ImageError` as `finish` does.
        """
        if placed := self._find_copy(path, target):
            self.finish(placed)

    def tidy(self, moved: Sequence[tuple[Path, Path]]) -> None:
        """Removes originals that a run was killed over between their last two steps, and so have a hidden name.

        `moved` says where images were and are now. A hidden file that is not whole in such a place is named, and stays.
        """
        for folder in {path.parent for path, _ in moved}:
            targets = [target for path, target in moved if path.parent == folder and not os.path.lexists(path)]
            for left in folder.glob(f"{_HIDDEN}{'[0-9a-f]' * 16}"):
                if any(self._find_copy(left, target) for target in targets):
                    with contextlib.suppress(OSError):  # named below
                        left.unlink()
                if os.path.lexists(left):
                    _log.warning(
                        "%s was left by a run that was killed: look whether it is an image that you miss.", left
                    )

    def _find_copy(self, path: Path, target: Path) -> Placed | None:
        """Looks whether a target has the same content and time, as a copy of ours has, or is the same file."""
        try:
            original, copy = os.lstat(path), os.lstat(target)
            is_ours = self.holds(target) and original.st_mtime_ns == copy.st_mtime_ns
            are_files = stat.S_ISREG(original.st_mode) and stat.S_ISREG(copy.st_mode)
            is_copied = is_ours and are_files and filecmp.cmp(path, target, shallow=False)
            return Placed(target, path, _id(original), _id(copy)) if is_copied else None
        except (OSError, ValueError):  # one of them is not there any more, or never was a path
            return None

    def _put_back(self, aside: Path, path: Path) -> None:
        """Gives what was moved aside its name again, or, where that is taken, another one."""
        if not os.path.lexists(aside):
            return
        try:
            name = self._give_name(aside, path)
        except OSError:  # such as a folder, or no links and a full disk
            if os.path.lexists(path):
                _log.warning("%s is now called %s: its name was taken meanwhile.", path, aside)
                return
            name = aside.rename(path)
        if name != path:
            _log.warning("%s is now called %s: its name was taken meanwhile.", path, name)

    def _copy(self, source: BinaryIO, wanted: Path) -> Path:
        """Makes a whole copy first, and then gives it a name that nobody has."""
        temporary = wanted.with_name(f"{_HIDDEN}{os.urandom(8).hex()}")
        try:
            with open(temporary, "xb", opener=lambda name, flags: os.open(name, flags, 0o600)) as copy:
                shutil.copyfileobj(source, copy)
            if sys.platform == "win32":  # what is read-only can be neither flushed nor removed there
                sync(temporary)
                target = self._give_name(temporary, wanted)
                _copy_attributes(source.fileno(), target)
                return target
            _copy_attributes(source.fileno(), temporary)
            sync(temporary)
            return self._give_name(temporary, wanted)
        finally:
            temporary.unlink(missing_ok=True)

    def _give_name(self, private: Path, wanted: Path) -> Path:
        """Gives a file that only we know the first name that is free."""
        try:
            target = self._link(private, _id(os.lstat(private)), wanted)
            private.unlink(missing_ok=True)
        except _NoLinksError:
            for target in self._names.candidates(wanted):
                with contextlib.suppress(FileExistsError):
                    rename_to_free(private, target)
                    return target
        return target

    def _link(self, file: Path, own: FileId, wanted: Path, descriptor: int | None = None) -> Path:
        """Links a file to one more name: the first that is free, or that is its own already.

        Where it is open, and the system can, it is linked by its descriptor: whatever has its name now.
        """
        opened = None if descriptor is None else f"/proc/self/fd/{descriptor}"
        by_descriptor = opened is not None and os.path.lexists(opened)
        for target in self._names.candidates(wanted):
            try:
                if opened and by_descriptor:  # linkat(2) follows this link
                    os.link(opened, target, src_dir_fd=descriptor)
                else:
                    os.link(file, target)
            except FileExistsError:
                if _id_of(target) != own:  # it is, where an earlier run was killed in between
                    continue
            except FileNotFoundError as error:
                if not target.parent.is_dir():
                    raise
                raise ImageError(_CHANGED) from error
            except OSError as error:  # a file system has many words for this; where it is the disk, a copy fails, too
                raise _NoLinksError from error
            linked = _id_of(target)
            # On an overlay, an original's link has another inode than the original: `finish` compares the two.
            is_own = linked == own or (descriptor is not None and linked is not None and linked[2:] == own[2:])
            if not is_own:  # another one came under this name just now: both names stay
                raise ImageError(_CHANGED)
            return target
        raise AssertionError  # names do not end


@contextlib.contextmanager
def _open_again(original: Original) -> Iterator[BinaryIO]:
    """Opens what was read; raises `ImageError` where it has gone or is another file now."""
    try:
        stream = open_file(original.path)
    except ImageError as error:
        raise ImageError(f"cannot be read any more: {error}") from error
    with stream:
        if _id(os.fstat(stream.fileno())) != original.id:
            raise ImageError(_CHANGED)
        yield stream


def _copy_attributes(descriptor: int, path: Path) -> None:
    """Gives a copy the permissions, times and, on Linux, tags of an open file; never the right to become its owner."""
    status = os.fstat(descriptor)
    if sys.platform == "linux":
        with contextlib.suppress(OSError):  # the file system need not have them
            for name in os.listxattr(descriptor):
                try:
                    os.setxattr(path, name, os.getxattr(descriptor, name))
                except OSError as error:
                    _log.warning("%s lacks the attribute %s of its original: %s", path.parent, name, error.strerror)
    if hasattr(os, "chown"):  # not on Windows
        for owner in (-1, status.st_uid):  # one may give a file to a group of one's own, but to a user as root alone
            with contextlib.suppress(OSError):
                os.chown(path, owner, status.st_gid)
    path.chmod(status.st_mode & 0o777)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def _is_copied(placed: Placed, aside: Path) -> bool:
    """Returns whether an original that was moved aside is whole in its new place, too."""
    if _id_of(aside) != placed.entry or not _holds(placed.target, placed.copy):
        return False
    if aside.is_symlink() or placed.entry == placed.copy:  # the image of a link was copied, and stays
        return True
    return not _is_being_written(aside) and filecmp.cmp(aside, placed.target, shallow=False)


def _is_being_written(path: Path) -> bool:
    """Returns whether some program holds a file open to write it, as far as Linux tells: by refusing a lease."""
    if sys.platform != "linux":
        return False
    import fcntl  # noqa: PLC0415 - not on Windows

    with path.open("rb") as stream:
        fcntl.fcntl(
            stream, fcntl.F_SETSIG, signal.SIGURG
        )  # who opens it now ends the lease: SIGIO would end this process
        try:
            fcntl.fcntl(stream, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        except OSError as error:
            return error.errno == errno.EAGAIN  # others: a file system without leases, or somebody else's file
        fcntl.fcntl(stream, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return False


def _holds(path: Path, file: FileId) -> bool:
    """Returns whether a name is that of this very regular file."""
    return _id_of(path) == file and not path.is_symlink()


def _id(status: os.stat_result) -> FileId:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _id_of(path: Path) -> FileId | None:
    """Returns what has a name now; None if nothing has."""
    try:
        return _id(os.lstat(path))
    except FileNotFoundError:
        return None
