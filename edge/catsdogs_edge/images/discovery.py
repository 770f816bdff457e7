"""Finds image files: by name, in folders, by pattern, in lists; and sorted into one folder for each class."""

import codecs
import fnmatch
import glob
import logging
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from catsdogs_edge.errors import DataError, OutputError
from catsdogs_edge.images.decode import EXTENSIONS

_log = logging.getLogger(__name__)

# Folders of thumbnails, of what was deleted, and the like: Synology's, QNAP's, Windows', Linux' and macOS'
_OF_SYSTEMS = frozenset(
    {
        "@eaDir",
        "#recycle",
        "#snapshot",
        "@Recycle",
        "$RECYCLE.BIN",
        "System Volume Information",
        "lost+found",
        "__MACOSX",
    }
)
VIDEO_ENDINGS = frozenset(
    {".3gp", ".avi", ".flv", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".ts", ".webm", ".wmv"}
)
"""File name endings, in lower case, of videos: a search through a folder passes them over."""

_PARTS = frozenset({"eval", "test", "testing", "train", "training", "val", "valid", "validation"})  # of a data set
_REVIEWED = frozenset({"classes", "other", "rows"})  # where `catsdogs-review` puts images
_LONGEST_NAME = 2**16  # bytes in a list; a path has 4096 at most


def find_images(
    sources: Iterable[str | Path],
    *,
    null: bool = False,
    without: Path | None = None,
    left_out: Counter[str] | None = None,
    is_quiet: bool = False,
) -> Iterator[Path]:
    """Expands what a user may name, in the order of the arguments and sorted inside each.

    - A folder: searched with the folders in it. Hidden entries and files without an image's ending are left out;
      links to folders are not followed (they may form a loop). A folder that cannot be opened, or that is named
      like an image, is given back itself, so that it becomes a row with an error.
    - A pattern such as `holiday/**/*.jpg`, unless a file has that very name. Folders that match are searched, and what
      is in them is found with them.
    - `@names.txt`: a file with a path in each line (with `null`, NUL bytes end them); `-`: the same on standard input.
    - Anything else is given back as it is, whatever its name: it was asked for by name.

    Args:
        sources: What is named.
        null: NUL bytes end the names in lists.
        without: A folder that is left out, such as the one that images are sorted into.
        left_out: Counts the files in folders that are no images, by their endings.
        is_quiet: Links to folders are not named.

    Raises:
        DataError: A list cannot be read.
    """
    without = without.resolve() if without else None
    # What is named is taken, though it lies in that folder, where we are in it, too.
    unless_named = None if without and Path.cwd().is_relative_to(without) else without
    for source in map(str, sources):
        if is_list(source):
            for name in read_list(source, null=null):
                yield from expand(Path(name), without, left_out, file_without=unless_named, is_quiet=is_quiet)
        elif is_pattern(source):
            folders: set[Path] = set()  # what is in them is found with them
            for path in map(Path, sorted(glob.iglob(_pattern(source), recursive=True)) or [source]):  # noqa: PTH207 - `**` as a shell has it
                if folders.isdisjoint(path.parents):
                    folders.update([path] if os.path.isdir(path) else [])
                    yield from expand(path, without, left_out, file_without=unless_named, is_quiet=is_quiet)
        else:
            yield from expand(Path(source), without, left_out, is_quiet=is_quiet)


def is_list(source: str) -> bool:
    """Returns whether it names a list: `-`, or `@` and a file, unless a file has that very name."""
    return source == "-" or (source.startswith("@") and not os.path.lexists(source))


def is_pattern(source: str) -> bool:
    """Returns whether a name is to be matched with files: it has `*`, `?` or `[` and no file is called so."""
    return glob.has_magic(source) and not os.path.lexists(source)


def _pattern(source: str) -> str:
    """Takes the folders at the start of a pattern that are there as they are written, such as `trip[2024]`."""
    parts = Path(source).parts
    count = next((n for n in range(len(parts) - 1, 0, -1) if os.path.lexists(Path(*parts[:n]))), 0)
    return str(Path(glob.escape(str(Path(*parts[:count]))), *parts[count:])) if count else source


def check_apart(option: str, folder: Path, sources: Iterable[str]) -> None:
    """Refuses to write images beside those that the sources name: raises `OutputError`. Lists are not looked at."""
    for source in sources:
        if _finds(source, folder):
            raise OutputError(f"{option} {folder} lies in {source}, which is classified: choose another folder")


def _finds(source: str, folder: Path) -> bool:
    """Returns whether a folder, which need not exist, holds what a source names, or is searched for it."""
    if os.path.isdir(source):
        return folder.resolve().is_relative_to(Path(source).resolve())
    if not is_pattern(source):
        return False
    *parents, last = Path(os.path.abspath(_pattern(source))).parts  # noqa: PTH100 - `resolve` follows links
    mine = Path(os.path.abspath(folder)).parts  # noqa: PTH100 - likewise
    is_deep = "**" in parents  # all below that is searched
    depth = parents.index("**") if is_deep else len(parents)
    is_there = len(mine) >= depth and all(map(fnmatch.fnmatch, mine, parents[:depth]))
    return is_there and (is_deep or len(mine) == depth or fnmatch.fnmatch(mine[depth], last))


def expand(
    path: Path,
    without: Path | None = None,
    left_out: Counter[str] | None = None,
    *,
    file_without: Path | None = None,
    is_quiet: bool = False,
) -> Iterator[Path]:
    """Returns the images in a folder, or what is no folder as it is; see `find_images`.

    A search leaves out the folder `without`; a single file that lies in `file_without` is left out.
    """
    if not os.path.isdir(path):
        if file_without is None or file_without not in path.absolute().parents:
            yield path
        return
    closed: list[OSError] = []
    for folder, subfolders, names in os.walk(path, onerror=closed.append):
        if without and Path(folder).resolve() == without:
            subfolders.clear()
            continue
        subfolders[:] = sorted(filter(is_searched, subfolders))
        for name in subfolders:
            if not is_quiet and Path(folder, name).is_symlink():
                _log.info("%s is a link to a folder, and left out", Path(folder, name))
        yield from (Path(folder, name) for name in subfolders if looks_like_image(name))
        names.sort()
        yield from (Path(folder, name) for name in names if looks_like_image(name))
        if left_out is not None:
            others = (name for name in names if not name.startswith(".") and not looks_like_image(name))
            left_out.update(os.path.splitext(name)[1].lower() for name in others)  # noqa: PTH122 - a million
    yield from (Path(error.filename) for error in closed)


def find_in_folder(folder: Path) -> list[Path]:
    """Finds the images in a folder, as `find_images` does, and says which files are left out."""
    left_out: Counter[str] = Counter()
    found = list(find_images([folder], left_out=left_out))
    name_left_out(folder, left_out)
    return found


def name_left_out(where: Path, left_out: Counter[str]) -> None:
    """Says in the log which files of a folder or a zip file are left out, if any."""
    if left_out:
        _log.info("%s: %s", where, describe_left_out(left_out))


def describe_left_out(left_out: Counter[str]) -> str:
    """Says how many files were passed over, by their endings, and what to do; nothing where there is none."""
    if not left_out:
        return ""
    counts = [f"{count} {ending or 'without an ending'}" for ending, count in left_out.most_common(3)]
    more = left_out.total() - sum(count for _, count in left_out.most_common(3))
    heic = " (HEIC: convert them to JPEG first)" if left_out.keys() & {".heic", ".heif"} else ""
    videos = " (videos: catsdogs-cam)" if left_out.keys() & VIDEO_ENDINGS else ""
    return f"left out: {', '.join(counts)}{f', {more} others' if more else ''}{heic}{videos}"


def looks_like_image(name: str) -> bool:
    """Returns whether a search through a folder takes a file of that name."""
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in EXTENSIONS  # noqa: PTH122 - a million


def read_list(source: str, *, null: bool = False) -> Iterator[str]:
    """Reads the names in `@FILE`, or `-`, as they come, but empty ones; raises `DataError` where it cannot."""
    end = b"\0" if null else b"\n"
    try:
        descriptor = 0 if source == "-" else os.open(source[1:], os.O_RDONLY)
        with open(descriptor, "rb", buffering=0, closefd=descriptor > 0) as stream:
            rest = stream.read(1 << 16)
            if rest.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):  # as some programs on Windows write them
                yield from filter(None, (rest + stream.read()).decode("utf-16").splitlines())
                return
            rest = rest.removeprefix(codecs.BOM_UTF8)
            while rest:
                *names, rest = rest.split(end)
                yield from (_decode(name, end, source) for name in names if name)
                if len(rest) > _LONGEST_NAME:
                    raise DataError(f"the list {source} has a line of more than {_LONGEST_NAME} bytes")
                if not (block := stream.read(1 << 16)):
                    break
                rest += block
            if rest:
                yield _decode(rest, end, source)
    except OSError as error:
        raise DataError(f"the list {source} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"the list {source} is damaged: {error}") from error


def _decode(name: bytes, end: bytes, source: str) -> str:
    if b"\0" in name:
        raise DataError(f"the list {source} has NUL bytes in its lines: add --null for the output of 'find -print0'")
    return os.fsdecode(name.removesuffix(b"\r") if end == b"\n" else name)


def class_folders(root: Path, *, is_quiet: bool = False) -> list[Path]:
    """Returns the folders in a folder, sorted, but those of the system and of our own trainings.

    It names the second, unless it `is_quiet`.
    """
    folders = []
    for path in sorted(path for path in root.iterdir() if path.is_dir() and is_searched(path.name)):
        if (path / "run.json").is_file() or (path / "checkpoint" / "settings.json").is_file():
            if not is_quiet:
                _log.info("%s is the run folder of a training, and left out", path)
        else:
            folders.append(path)
    return folders


def is_searched(folder: str) -> bool:
    """Returns whether a search goes into a folder of that name."""
    return not folder.startswith(".") and folder not in _OF_SYSTEMS


def find_labelled(root: Path, least: int = 2) -> tuple[tuple[str, ...], list[tuple[Path, int]]]:
    """Finds images that are sorted into one folder for each class.

    Returns the folders' names, sorted, and each image with the index of its folder, in order. Raises `DataError` where
    there are fewer class folders than `least`, or they are a level deeper.
    """
    if not root.is_dir():
        raise DataError(f"{root}: no such folder (expected one with a folder of images for each class)")
    folders = class_folders(root)
    if len(folders) < least:
        names = f" ({', '.join(path.name for path in folders)})" if folders else ""
        raise DataError(
            f"{root} has {len(folders)} class folder{'s' * (len(folders) != 1)}{names}, expected {least} or more: one "
            "folder of images for each class"
        )
    if "classes" in {folder.name for folder in folders} <= _REVIEWED:
        raise DataError(f"{root} is what catsdogs-review fills: did you mean {root / 'classes'} instead of it?")
    inner = {tuple(path.name for path in class_folders(folder, is_quiet=True)) for folder in folders}
    if len(inner) == 1 and len(*inner) >= 2 and {folder.name.casefold() for folder in folders} <= _PARTS:
        likely = next((folder for folder in folders if folder.name.casefold().startswith("train")), folders[0])
        raise DataError(f"{root} has the same folders in each of its folders: did you mean {likely} instead of {root}?")
    found = [(path, label) for label, folder in enumerate(folders) for path in find_in_folder(folder)]
    return tuple(folder.name for folder in folders), found
