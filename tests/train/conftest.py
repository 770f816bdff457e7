"""What the tests of train share."""

from pathlib import Path

import cv2
import numpy as np
import pytest


@pytest.fixture
def rooms(tmp_path: Path) -> Path:
    """Images of neither: stripes, in folders."""
    for number in range(30):
        folder = tmp_path / "rooms" / f"room{number % 6}"
        folder.mkdir(parents=True, exist_ok=True)
        image = np.zeros((40, 40, 3), np.uint8)
        image[:, :: 2 + number % 5] = (90 + 5 * number, 200, 3 * number)
        assert cv2.imwrite(str(folder / f"{number}.png"), image)
    return tmp_path / "rooms"
