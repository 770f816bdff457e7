"""Finds labelled images however they lie: a folder for each class, Kaggle's flat names, a zip of either."""

import lzma
import re
import shutil
import stat
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from catsdogs_edge.errors import CatsDogsError, DataError, OutputError
from catsdogs_edge.images.decode import EXTENSIONS
from catsdogs_edge.images.discovery import find_labelled
from catsdogs_edge.output.files import replace_folder
from catsdogs_train.data.cache import cache_folder

_FLAT = re.compile(r"([A-Za-z][\w-]*)[._]\d+\.\w+")  # Kaggle's `train/cat.0.jpg`: label, number, ending
# What zipfile raises for damaged, encrypted and unusual files
_DAMAGE = (EOFError, NotImplementedError, RuntimeError, ValueError, lzma.LZMAError, zipfile.BadZipFile, zlib.error)


def find_all(roots: Sequence[Path]) -> tuple[tuple[str, ...], list[tuple[Path, int]]]:
    """Finds the labelled images of one or more folders or zip files with the same classes.

    Each is laid out in one of these ways, and may lie alone in further folders:

    - a folder of images for each class, as in `PetImages/Cat`, `PetImages/Dog`;
    - one folder of files that are named `cat.0.jpg`, `dog.0.jpg`.

    Returns the classes, sorted, and each file with the index of its class, in order. Raises `DataError` for another
    layout, or other classes in one than in another.
    """
    classes: tuple[str, ...] = ()
    found: list[tuple[Path, int]] = []
    for root in roots:
        names, labelled = _find(root)
        if classes and names != classes:
            raise DataError(f"{root} has the classes {in_words(names)}, expected {in_words(classes)} as in {roots[0]}")
        classes = names
        found += labelled
    once = {path.resolve(): (path, label) for path, label in reversed(found)}  # folders may overlap
    return classes, list(reversed(once.values()))


def _find(root: Path) -> tuple[tuple[str, ...], list[tuple[Path, int]]]:
    try:
        folder = unpack(root) if root.is_file() else root
        if not folder.is_dir():
            raise DataError(f"{root}: no such folder or zip file (expected one with a folder of images for each class)")
        return _labelled(_inner(folder), root)
    except CatsDogsError:
        raise
    except OSError as error:
        raise DataError(f"{error.filename or root} cannot be read: {error.strerror}") from error


def _labelled(folder: Path, root: Path) -> tuple[tuple[str, ...], list[tuple[Path, int]]]:
    classes = [entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith(".")]
    for inner in classes:
        if len({label for _, label in _flat(inner)}) >= 2:
            raise DataError(f"{inner} holds images of several classes by their names: did you mean it, not {root}?")
    flat = _flat(folder)
    labels = tuple(sorted({label for _, label in flat}))
    if len(classes) < 2 and len(labels) >= 2:
        return labels, [(path, labels.index(label)) for path, label in flat]
    return find_labelled(folder)


def _flat(folder: Path) -> list[tuple[Path, str]]:
    """Finds images that are named by their class."""
    images = sorted(path for path in folder.iterdir() if path.suffix.lower() in EXTENSIONS)
    return [(path, match[1]) for path in images if (match := _FLAT.fullmatch(path.name))]


def _inner(folder: Path) -> Path:
    """Goes into a folder that lies alone: `PetImages` in Microsoft's zip, `train` in Kaggle's."""
    while True:
        entries = [entry for entry in folder.iterdir() if not entry.name.startswith((".", "__MACOSX"))]
        inside = [entry for entry in entries if entry.is_dir()]
        if len(inside) != 1 or any(entry.suffix.lower() in EXTENSIONS for entry in entries):
            return folder
        folder = inside[0]


def unpack(archive: Path, into: Path | None = None) -> Path:
    """Unpacks the images of a zip file into the user's cache, once, and returns their folder.

    Raises `DataError` for a damaged or encrypted file, one with a path that leads out of it, or where there is no room;
    `OutputError` where the folder cannot be written.
    """
    status = archive.stat()
    cache = into or cache_folder()
    folder = cache / f"{archive.stem}-{status.st_size:x}-{status.st_mtime_ns:x}"
    if folder.is_dir():
        return folder
    try:
        with zipfile.ZipFile(archive) as file, replace_folder(folder, frozenset()) as stage:
            wanted = [entry for entry in file.infolist() if _is_image(entry, archive)]
            size, free = sum(entry.file_size for entry in wanted), shutil.disk_usage(stage).free
            if size > free:
                raise DataError(f"{archive} holds {size >> 20} MB of images, {cache} has room for {free >> 20} MB")
            file.extractall(stage, wanted)
    except OutputError:
        if not folder.is_dir():  # another process has unpacked it meanwhile
            raise
    except _DAMAGE as error:
        raise DataError(f"{archive} is not a zip file that can be unpacked: {error}") from error
    return folder


def _is_image(entry: zipfile.ZipInfo, archive: Path) -> bool:
    """Returns whether an entry is an image; refuses a path that leads out of the folder, and links, which may."""
    path = PurePosixPath(entry.filename.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or ":" in str(path) or stat.S_ISLNK(entry.external_attr >> 16):
        raise DataError(f"{archive} holds '{entry.filename}', which leads out of it: do not trust this file")
    entry.filename = str(path) + "/" * entry.is_dir()
    is_hidden = any(part.startswith((".", "__MACOSX")) for part in path.parts)
    return not entry.is_dir() and not is_hidden and path.suffix.lower() in EXTENSIONS


def in_words(names: Sequence[str]) -> str:
    """Writes names of classes for a message."""
    return "(" + ", ".join(names) + ")"
