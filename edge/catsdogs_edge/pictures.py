"""Finds picture files: in folders, and sorted into one folder for each class."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from catsdogs_edge.errors import DataError
from catsdogs_edge.image import EXTENSIONS


def find_pictures(paths: Iterable[Path]) -> Iterator[Path]:
    """Expands folders, in the order of the arguments and sorted inside each.

    A path that is not a folder is given back as it is, whatever its name: it was asked for by
    name. Inside a folder hidden entries and files without a picture's ending are left out, and
    links to folders are not followed (they may form a loop). A
    folder that cannot be opened is given back itself, so that it becomes a row with an error.
    """
    for path in paths:
        if not os.path.isdir(path):  # noqa: PTH112 - unlike Path.is_dir, it does not raise for a closed folder
            yield path
            continue
        closed: list[OSError] = []
        for folder, subfolders, names in os.walk(path, onerror=closed.append):
            subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
            for name in sorted(names):
                if not name.startswith(".") and Path(name).suffix.lower() in EXTENSIONS:
                    yield Path(folder, name)
        yield from (Path(error.filename) for error in closed)


def find_labelled(root: Path) -> tuple[tuple[str, ...], list[tuple[Path, int]]]:
    """Finds pictures that are sorted into one folder for each class.

    Returns:
        The folders' names, sorted, and each picture with the index of its folder, in order.

    Raises:
        DataError: No such folder, fewer than two class folders in it, or the class folders are a level deeper.
    """
    if not root.is_dir():
        raise DataError(f"{root}: no such folder (expected one with a folder of pictures for each class)")
    folders = sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    if len(folders) < 2:
        names = ", ".join(path.name for path in folders)
        raise DataError(
            f"{root} has {len(folders)} class folders ({names}), expected two or more: one folder of pictures for "
            "each class",
        )
    inner = {tuple(sorted(path.name for path in folder.iterdir() if path.is_dir())) for folder in folders}
    if len(inner) == 1 and len(*inner) >= 2:
        raise DataError(
            f"{root} has the same folders in each of its folders: did you mean {folders[0]} instead of {root}?",
        )
    found = [(path, label) for label, folder in enumerate(folders) for path in find_pictures([folder])]
    return tuple(folder.name for folder in folders), found
