"""Arrays in NPY files: features, and images that were decoded once."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catsdogs_edge.output.files import atomic_file


def write_array(file: Path, shape: tuple[int, ...], parts: Iterable[NDArray[np.uint8 | np.float32]]) -> None:
    """Writes an array of this shape that comes in parts of one type, at least one: whole or not at all.

    Raises `OutputError` for a full disk, of which `np.save` does not tell, and which would end a process that maps it.
    """
    with atomic_file(file) as path, path.open("wb") as stream:
        for number, part in enumerate(parts):
            if not number:
                header = {"descr": np.lib.format.dtype_to_descr(part.dtype), "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_1_0(stream, header)
            stream.write(np.ascontiguousarray(part).data)


def read_array(file: Path) -> NDArray[Any]:
    """Returns an array that stays on the disk until it is asked for; the file is open as long as it is held."""
    return np.asanyarray(np.load(file, mmap_mode="r"))


def is_whole(file: Path) -> bool:
    """Looks whether an array is there, and not cut short, as after a power cut."""
    try:
        read_array(file)
    except (OSError, EOFError, ValueError):
        return False
    return True
