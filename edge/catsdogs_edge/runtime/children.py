"""How this package starts other Python processes: none of them imports what lies in the current folder.

Python puts the current folder before its own library for `-c` and `-m`: a folder that somebody sent could bring a
`cv2.py` of its own.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import TemporaryDirectory

_SAFE = "PYTHONSAFEPATH"


def python(*arguments: str) -> list[str]:
    """Returns the command that runs this Python with arguments such as `-m` and a module."""
    return [sys.executable, "-P", *arguments]


def protect_descendants() -> None:
    """Does the same for processes that libraries start from now on, such as those of `multiprocessing` and Ray."""
    os.environ[_SAFE] = "1"


@contextmanager
def neutral_folder() -> Iterator[None]:
    """Makes an empty folder the current one during the block, for libraries that take it for the user's code."""
    before = os.getcwd()  # noqa: PTH109 - a name, not a path
    with TemporaryDirectory(prefix="catsdogs-", ignore_cleanup_errors=True) as folder:
        os.chdir(folder)
        try:
            yield
        finally:
            os.chdir(before)
