"""Finds labelled images however they lie: a folder for each class, Kaggle's flat names, a zip of either."""

import hashlib
import logging
import lzma
import re
import shutil
import stat
import zipfile
import zlib
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence, Set
from pathlib import Path, PurePosixPath

from catsdogs_edge.errors import CatsDogsError, DataError, OutputError
from catsdogs_edge.images.decode import EXTENSIONS, LARGEST_FILE
from catsdogs_edge.images.discovery import class_folders, find_labelled, looks_like_image, name_left_out
from catsdogs_edge.output.files import replace_folder
from catsdogs_edge.output.terminal import counted
from catsdogs_train.data.cache import cache_folder

_log = logging.getLogger(__name__)

_FLAT = re.compile(r"([^\W\d_][\w-]*?)[._](\d+)\.\w+")  # Kaggle's `train/cat.0.jpg`: label, number, ending
_CAMERAS = frozenset(
    {"dsc", "dscf", "dscn", "gopr", "image", "img", "mvi", "p", "photo", "picture", "pxl", "screenshot"}
)
_MOST_FLAT = 20  # classes by the names of files: with more, they are something else
_LARGEST_RATIO = 200  # of unpacked to packed size: images are compressed already, so more is a bomb
_DRIVE = re.compile("[A-Za-z]:")
_COUNT = ".catsdogs-count"  # the number of files that were unpacked
# What zipfile raises for damaged, encrypted and unusual files
_DAMAGE = (EOFError, NotImplementedError, RuntimeError, ValueError, lzma.LZMAError, zipfile.BadZipFile, zlib.error)


def find_all(roots: Sequence[Path], known: Sequence[str] = ()) -> tuple[tuple[str, ...], list[tuple[Path, int]]]:
    """Finds the labelled images of one or more folders or zip files with the same classes.

    Where the classes are `known`, from an earlier run, a folder may hold images of some of them alone.

    Each is laid out in one of these ways, and may lie alone in further folders:

    - a folder of images for each class, as in `PetImages/Cat`, `PetImages/Dog`;
    - one folder of files that are named `cat.0.jpg`, `dog.0.jpg`.

    Returns the classes, sorted, and each file with the index of its class, in order; one that is in two classes, by a
    link, with each of them. Raises `DataError` for another layout, or other classes in one than in another, or than
    those that are known.
    """
    classes = tuple(known)
    found: list[tuple[Path, int]] = []
    for root in roots:
        names, labelled = _find(root, known)
        if known:
            if unknown := set(names) - set(known):
                strange = in_words(sorted(unknown))
                raise DataError(f"{root} has the classes {strange}, which the earlier run does not know: train anew")
            labelled = [(path, classes.index(names[label])) for path, label in labelled]
            names = classes
        if classes and names != classes:
            raise DataError(f"{root} has the classes {in_words(names)}, expected {in_words(classes)} as in {roots[0]}")
        classes = names
        found += labelled
    once: dict[tuple[Path, int], Path] = {}  # folders may overlap
    for path, label in found:
        once.setdefault((path.resolve(), label), path)
    return classes, [(path, label) for (_, label), path in once.items()]


def _find(root: Path, known: Collection[str]) -> tuple[tuple[str, ...], list[tuple[Path, int]]]:
    folder = root
    try:
        if root.is_file():
            folder = unpack(root)
            name_left_out(root, _no_images(_files_in(root)))
        if not folder.is_dir():
            raise DataError(f"{root}: no such folder or zip file (expected one with a folder of images for each class)")
        return _labelled(_inner(folder, known), root, known)
    except DataError as error:
        raise DataError(str(error).replace(str(folder), str(root))) from error  # where the user has it
    except CatsDogsError:
        raise
    except OSError as error:
        raise DataError(f"{error.filename or root} cannot be read: {error.strerror}") from error


def _labelled(folder: Path, root: Path, known: Collection[str]) -> tuple[tuple[str, ...], list[tuple[Path, int]]]:
    classes = class_folders(folder, is_quiet=True)
    images = {inner: [path for path in inner.iterdir() if looks_like_image(path.name)] for inner in classes}
    numbered = [inner for inner in classes if 2 * sum(map(_is_numbered, images[inner])) > len(images[inner])]
    by_name = [inner for inner in classes if 2 * len(_flat(inner)) > len(images[inner])]
    if len(by_name) == 1 and len(classes) - len(numbered) == 1:  # Kaggle's `train` beside `test1`, without names
        raise DataError(
            f"{by_name[0]} holds images of several classes by their names: did you mean it, not {root}? If it is a "
            "class, rename its images, so that they are not called by a name and a number"
        )
    flat = [] if len(classes) >= 2 else _flat(folder, known)
    labels = tuple(sorted({label for _, label in flat}))
    if flat:
        _log.info("classes by the names of the files in %s: %s", root, ", ".join(labels))
        _name_strays(folder, {path for path, _ in flat}, "not named by a class and a number, as cat.0.jpg is")
        return labels, [(path, labels.index(label)) for path, label in flat]
    names, found = find_labelled(folder, 1 if known else 2)
    _name_strays(folder, set(), "beside the folders of the classes")
    folded: dict[str, str] = {}
    for name in names:
        if (other := folded.setdefault(name.casefold(), name)) != name:
            _log.warning("%s and %s in %s are two classes: were they meant to be one?", other, name, root)
    return names, found


def _name_strays(folder: Path, used: Set[Path], why: str) -> None:
    """Warns of images in a folder that have no label, and says which files there are no images."""
    files = [path for path in folder.iterdir() if path.is_file() and not path.name.startswith(".")]
    name_left_out(folder, _no_images(path.name for path in files))
    strays = sorted(path for path in files if looks_like_image(path.name) and path not in used)
    if strays:
        _log.warning("left out: %s %s; such as %s", counted(len(strays), "image"), why, strays[0])


def _flat(folder: Path, known: Collection[str] = ()) -> list[tuple[Path, str]]:
    """Finds images that are named by their class, two or more of each; none where the names are those of a camera.

    There must be two classes, or one that is known.
    """
    images = sorted(path for path in folder.iterdir() if looks_like_image(path.name))
    found = [(path, match[1]) for path in images if (match := _FLAT.fullmatch(path.name))]
    counts = Counter(label for _, label in found)
    # One image, such as cover_1.jpg, is no class, nor are those that a camera named
    labels = {name for name, count in counts.items() if count >= 2 and name.casefold().rstrip("_") not in _CAMERAS}
    labels |= counts.keys() & set(known)
    if not (2 <= len(labels) <= _MOST_FLAT or labels.intersection(known)):
        return []
    return [(path, label) for path, label in found if label in labels]


def _is_numbered(path: Path) -> bool:
    """Returns whether an image has a number for a name, as those that are to be guessed."""
    return path.stem.isdecimal()


def _inner(folder: Path, known: Collection[str]) -> Path:
    """Goes into a folder that lies alone, as `PetImages` in Microsoft's zip, or `train` in Kaggle's.

    It does not go into one that is called like a known class.
    """
    while True:
        entries = [entry for entry in folder.iterdir() if not entry.name.startswith((".", "__MACOSX"))]
        inside = class_folders(folder, is_quiet=True)
        if len(inside) != 1 or inside[0].name in known or any(entry.suffix.lower() in EXTENSIONS for entry in entries):
            return folder
        if not class_folders(inside[0], is_quiet=True) and not _flat(inside[0]):
            return folder  # one class alone
        folder = inside[0]


def unpack(archive: Path, into: Path | None = None) -> Path:
    """Unpacks the images of a zip file into the user's cache, once, and returns their folder.

    Raises `DataError` for a damaged or encrypted file, one with a path that leads out of it, or where there is no room;
    `OutputError` where the folder cannot be written.
    """
    cache = into or cache_folder()
    with archive.open("rb") as stream:  # another one may have the same name, size and time
        folder = cache / f"{archive.stem}-{hashlib.file_digest(stream, 'sha256').hexdigest()[:16]}"
    if folder.is_dir():
        if _is_whole(folder):
            return folder
        _log.warning("%s lacks files: it is unpacked anew", folder)
        shutil.rmtree(folder)
    try:
        with zipfile.ZipFile(archive) as file, replace_folder(folder, frozenset()) as staging:
            entries = [entry for entry in file.infolist() if _is_wanted(entry, archive)]
            wanted = [entry for entry in entries if _ending(entry.filename) in EXTENSIONS]
            _check_entries(wanted, archive)
            size, free = sum(entry.file_size for entry in wanted), shutil.disk_usage(staging).free
            if size > free:
                raise DataError(f"{archive} holds {size >> 20} MB of images, {cache} has room for {free >> 20} MB")
            file.extractall(staging, wanted)
            (staging / _COUNT).write_text(str(len(wanted)), encoding="ascii")
    except OutputError:
        if not folder.is_dir():  # another process has unpacked it meanwhile
            raise
    except DataError:  # a ValueError, too
        raise
    except _DAMAGE as error:
        raise DataError(f"{archive} is not a zip file that can be unpacked: {error}") from error
    return folder


def _is_whole(folder: Path) -> bool:
    """Returns whether an unpacked folder still holds as many files as it did."""
    count = folder / _COUNT
    expected = count.read_text(encoding="ascii") if count.is_file() else ""
    return expected == str(sum(path.is_file() for path in folder.rglob("*")) - 1)


def _files_in(archive: Path) -> Iterator[str]:
    """Yields the names of the files in a zip file that was unpacked, but hidden ones."""
    with zipfile.ZipFile(archive) as file:
        yield from (entry.filename for entry in file.infolist() if _is_wanted(entry, archive))


def _no_images(names: Iterable[str]) -> Counter[str]:
    """Counts the files that are no images, by their endings."""
    return Counter(sorted(ending for ending in map(_ending, names) if ending not in EXTENSIONS))


def _ending(name: str) -> str:
    return PurePosixPath(name).suffix.lower()


def _check_entries(entries: Sequence[zipfile.ZipInfo], archive: Path) -> None:
    """Refuses a zip file that would unpack to far more than it is, or of which one image would replace another."""
    names = Counter(entry.filename for entry in entries)
    for entry in entries:
        if names[entry.filename] > 1:
            raise DataError(f"{archive} holds '{entry.filename}' {names[entry.filename]} times: pack it anew")
        if entry.file_size > max(LARGEST_FILE, _LARGEST_RATIO * entry.compress_size):
            raise DataError(f"{archive} holds '{entry.filename}' of {entry.file_size} bytes: do not trust this file")


def _is_wanted(entry: zipfile.ZipInfo, archive: Path) -> bool:
    """Returns whether an entry is a file and not hidden; refuses a path that leads out of the folder, and links."""
    path = PurePosixPath(entry.filename.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or _DRIVE.match(str(path)) or stat.S_ISLNK(entry.external_attr >> 16):
        raise DataError(f"{archive} holds '{entry.filename}', which leads out of it: do not trust this file")
    entry.filename = str(path) + "/" * entry.is_dir()
    is_hidden = any(part.startswith((".", "__MACOSX")) for part in path.parts)
    return not entry.is_dir() and not is_hidden


def in_words(names: Sequence[str]) -> str:
    """Writes names of classes for a message."""
    return "(" + ", ".join(names) + ")"
