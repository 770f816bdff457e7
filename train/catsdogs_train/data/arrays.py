"""Arrays in NPY files: features, and images that were decoded once."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catsdogs_edge.output.files import atomic_file


def write_array(file: Path, array: NDArray[Any]) -> None:
    """Writes an array, whole or not at all; raises `OutputError` for a full disk, of which `np.save` does not tell."""
    array = np.ascontiguousarray(array)
    with atomic_file(file) as path, path.open("wb") as stream:
        np.lib.format.write_array_header_1_0(stream, np.lib.format.header_data_from_array_1_0(array))
        stream.write(array.reshape(-1).view(np.uint8).data)


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
