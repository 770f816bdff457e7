"""A window with the frames and what they were taken for."""

import os
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path

import cv2

from catsdogs_edge.frames import Frame
from catsdogs_edge.overlay import Painter
from catsdogs_edge.recorder import save_picture
from catsdogs_edge.sightings import Sighting

_TITLE = "catsdogs"
_STOP = {ord("q"), 27}
_TRIAL = "import cv2; cv2.namedWindow('catsdogs'); cv2.pollKey()"


class Window:
    """Shows each frame with the answer drawn on it.

    Keys: q or Escape stops, as closing the window does; space pauses; s saves the frame as it came, without
    what is drawn on it; m mirrors.
    """

    def __init__(self, provider: str, *, fps: float = 0.0, snapshots: Path | None = None) -> None:
        """Opens the window; ask `why_not` before.

        Args:
            provider: ONNX Runtime's name of what the model runs on.
            fps: Shows not more frames a second than this: the speed of a recording; 0 for as they come.
            snapshots: Folder for what the key s saves; the current one if None.
        """
        # Qt without a toolbar; the user may resize it.
        cv2.namedWindow(_TITLE, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO | cv2.WINDOW_GUI_NORMAL)
        self._painter = Painter(provider)
        self._interval = 1 / fps if fps else 0.0
        self._snapshots = snapshots or Path()
        self._sized = False
        self._mirrored = False
        self._due = 0.0

    @staticmethod
    def why_not() -> str | None:
        """Says why no window can be shown here, or None if one can.

        Tried in a child process: Qt ends the whole process when the display does not answer.
        """
        if not cv2.currentUIFramework():
            return "this OpenCV has no windows (opencv-python-headless)"
        if sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
            return "there is no display (DISPLAY is not set)"
        try:
            trial = subprocess.run([sys.executable, "-c", _TRIAL], capture_output=True, timeout=20, check=False)
        except subprocess.TimeoutExpired:
            return "the display does not answer within 20 s"
        return None if trial.returncode == 0 else f"the display {os.environ.get('DISPLAY', '')} does not answer"

    def write(self, sighting: Sighting) -> bool:
        """Shows one; returns False when a key or the closed window says stop."""
        key = self._show(sighting)
        if key == ord(" "):
            key = self._pause(sighting)
        return self._open() and key not in _STOP

    def _show(self, sighting: Sighting, note: str = "") -> int:
        """Shows one until the next is due; returns the key that was pressed, -1 for none."""
        image = self._painter.paint(sighting, mirrored=self._mirrored, note=note)
        if not self._sized and sighting.frame.bgr is not None:
            cv2.resizeWindow(_TITLE, image.shape[1], image.shape[0])
            self._sized = True
        cv2.imshow(_TITLE, image)
        now = time.monotonic()
        key = cv2.waitKey(max(1, round(1000 * min(self._due - now, 1.0))))
        self._due = max(self._due, now) + self._interval
        return self._handle(key, sighting.frame)

    def _pause(self, sighting: Sighting) -> int:
        """Shows the same until space is pressed again, or stop."""
        while self._open():
            image = self._painter.paint(sighting, mirrored=self._mirrored, note="PAUSED")
            cv2.imshow(_TITLE, image)
            key = self._handle(cv2.waitKey(50), sighting.frame)
            if key == ord(" ") or key in _STOP:
                return key
        return -1

    def _handle(self, key: int, frame: Frame) -> int:
        if key == ord("m"):
            self._mirrored = not self._mirrored
        elif key == ord("s") and frame.bgr is not None:
            name = f"catsdogs-{datetime.now().astimezone():%Y%m%d-%H%M%S}-{frame.number}.png"
            save_picture(frame.bgr, self._snapshots / name)
        return key

    @staticmethod
    def _open() -> bool:
        return cv2.getWindowProperty(_TITLE, cv2.WND_PROP_VISIBLE) >= 1

    def close(self) -> None:
        """Closes the window."""
        cv2.destroyAllWindows()
