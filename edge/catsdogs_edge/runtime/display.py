"""Finds out whether a window can be shown here."""

import os
import subprocess
import sys

import cv2

from catsdogs_edge.runtime.children import python

_TRIAL = "import cv2; cv2.namedWindow('catsdogs'); cv2.pollKey()"


def why_no_window() -> str | None:
    """Returns the reason why no window can be shown here, or None if one can.

    Tried in a child process: Qt ends the whole process when the display does not answer.
    """
    if not cv2.currentUIFramework():
        return "this OpenCV has no windows (opencv-python-headless)"
    if sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return "there is no display (DISPLAY is not set)"
    try:
        trial = subprocess.run(python("-c", _TRIAL), capture_output=True, timeout=20, check=False)
    except subprocess.TimeoutExpired:
        return "the display does not answer within 20 s"
    return None if trial.returncode == 0 else f"the display {os.environ.get('DISPLAY', '')} does not answer"
