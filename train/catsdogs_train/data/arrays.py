"""Arrays in NPY files: features, and images that were decoded once."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


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
