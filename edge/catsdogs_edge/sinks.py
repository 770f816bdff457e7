"""What happens to a classified frame: a window shows it, or JSON Lines record it."""

import json
import logging
import os
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol, TextIO

import cv2

from catsdogs_edge.classifier import Prediction
from catsdogs_edge.errors import OutputError
from catsdogs_edge.files import WRITE_ERRORS
from catsdogs_edge.overlay import draw_overlay
from catsdogs_edge.sources import Frame

_log = logging.getLogger(__name__)

_STANDARD_OUTPUT = Path("-")

JSONL_SCHEMA = 1
"""Version of the rows that `JsonLines` writes; raised when a field changes its meaning."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """One classified frame."""

    frame: Frame
    """What was seen."""
    prediction: Prediction
    """What it was taken for."""
    latency_ms: float
    """From the frame in memory to the prediction: colour order, resize and inference."""


class Sink(Protocol):
    """Somewhere to put sightings."""

    def write(self, sighting: Sighting) -> bool:
        """Takes one; returns False when the user wants to stop."""

    def close(self) -> None:
        """Releases what it holds."""


class Window:
    """Shows each frame with the prediction drawn on it; q or Escape, or closing it, stops."""

    _TITLE = "catsdogs"

    def __init__(self) -> None:
        # Qt without a toolbar; the user may resize it.
        cv2.namedWindow(self._TITLE, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO | cv2.WINDOW_GUI_NORMAL)
        self._sized = False

    @staticmethod
    def why_not() -> str | None:
        """Says why no window can be shown here, or None if one can.

        Ask before the first one is made: Qt ends the whole process when there is no display.
        """
        if not cv2.currentUIFramework():
            return "this OpenCV has no windows (opencv-python-headless)"
        if sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
            return "there is no display (DISPLAY is not set)"
        return None

    def write(self, sighting: Sighting) -> bool:
        """Shows one; returns False when a key or the closed window says stop."""
        image = draw_overlay(sighting.frame.bgr, sighting.prediction, sighting.latency_ms)
        if not self._sized:
            cv2.resizeWindow(self._TITLE, image.shape[1], image.shape[0])
            self._sized = True
        cv2.imshow(self._TITLE, image)
        key = cv2.waitKey(1) & 0xFF
        closed = cv2.getWindowProperty(self._TITLE, cv2.WND_PROP_VISIBLE) < 1
        return not closed and key not in {ord("q"), 27}

    def close(self) -> None:
        """Closes the window."""
        cv2.destroyAllWindows()


class JsonLines:
    """Writes one JSON object a line, each flushed at once so that a reader sees it."""

    def __init__(self, stream: TextIO, classes: tuple[str, ...]) -> None:
        self._stream = stream
        self._classes = classes

    @classmethod
    def open(cls, path: Path, classes: tuple[str, ...]) -> "JsonLines":
        """Opens a file for writing, from its start; `-` is standard output.

        Raises:
            OutputError: The file cannot be written.
        """
        if path == _STANDARD_OUTPUT:
            return cls(sys.stdout, classes)
        try:
            return cls(path.open("w", encoding="utf-8"), classes)
        except OSError as error:
            raise OutputError(f"{path} cannot be written: {error.strerror}") from error

    def write(self, sighting: Sighting) -> bool:
        """Writes one row; never asks to stop.

        Raises:
            OutputError: The disk is full.
        """
        row = {
            "schema": JSONL_SCHEMA,
            "frame": sighting.frame.number,
            "time": datetime.fromtimestamp(sighting.frame.time, UTC).isoformat(timespec="milliseconds"),
            "label": sighting.prediction.label,
            "probability": round(sighting.prediction.probability, 6),
            "probabilities": {
                name: round(value, 6)
                for name, value in zip(self._classes, sighting.prediction.probabilities, strict=True)
            },
            "latency_ms": round(sighting.latency_ms, 2),
        }
        try:
            self._stream.write(json.dumps(row, ensure_ascii=False) + "\n")
            self._stream.flush()
        except OSError as error:
            if error.errno not in WRITE_ERRORS:  # a reader that has gone away is no failure of ours
                raise
            raise OutputError(f"JSON Lines cannot be written: {error.strerror}") from error
        return True

    def close(self) -> None:
        """Closes the file; standard output stays open."""
        if self._stream is not sys.stdout:
            self._stream.close()


def open_sinks(classes: tuple[str, ...], *, window: bool, jsonl: Path | None) -> list[Sink]:
    """Opens what the user asked for; with neither window nor file, JSON Lines on standard output.

    Args:
        classes: Names for the probabilities, in the order of the contract.
        window: Show a window; where that cannot be, says so once and goes on without.
        jsonl: File for JSON Lines, `-` for standard output, None for none.

    Raises:
        OutputError: The file cannot be written.
    """
    if window and (reason := Window.why_not()):
        _log.info("No window: %s.", reason)
        window = False
    if jsonl is None and not window:
        jsonl = _STANDARD_OUTPUT
    sinks: list[Sink] = []
    if jsonl is not None:
        sinks.append(JsonLines.open(jsonl, classes))
    if window:
        sinks.append(Window())
    return sinks
