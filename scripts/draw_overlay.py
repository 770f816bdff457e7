"""Draws the image in README.md: what `catsdogs-cam` shows for a drawn cat, a drawn dog and an empty room.

python scripts/draw_overlay.py
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np

from catsdogs_edge.images.drawings import KINDS, draw

_OUT = Path(__file__).resolve().parents[1] / "docs" / "overlay.png"
_SEED, _SIZE, _BLUR = 3, 480, 3.75


def main() -> None:
    """Writes docs/overlay.png."""
    with tempfile.TemporaryDirectory() as name:
        drawn, seen = Path(name) / "drawn", Path(name) / "seen"
        drawn.mkdir()
        for index, kind in enumerate((KINDS[0], *KINDS)):  # the first has no rate yet
            image = cv2.GaussianBlur(draw(kind, _SEED, _SIZE), (0, 0), _BLUR)
            cv2.imwrite(str(drawn / f"{index}.png"), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
        cam = Path(sys.executable).with_name("catsdogs-cam")
        subprocess.run(
            [cam, drawn, "--no-window", "--smoothing", "0", "--save", seen, "--jsonl", "/dev/null"], check=True
        )
        frames = [cv2.imread(str(path)) for path in sorted(seen.iterdir())]
        cv2.imwrite(str(_OUT), np.hstack([frame for frame in frames[1:] if frame is not None]))


if __name__ == "__main__":
    main()
