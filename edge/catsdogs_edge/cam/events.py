"""Runs a command when something has been seen for a while."""

import logging
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from catsdogs_edge.cam.frame_result import FrameResult
from catsdogs_edge.errors import DataError

_log = logging.getLogger(__name__)

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "": 1.0}
_LAST_WAIT = 10.0  # seconds that a running command gets when the camera ends


@dataclass(frozen=True, slots=True)
class Trigger:
    """When to run the command."""

    label: str
    seconds: float
    """How long the label must be seen without a break."""

    @classmethod
    def parse_all(cls, text: str) -> tuple["Trigger", ...]:
        """Reads `cat:2s`, or several: `cat:2s,dog:500ms`; raises `ValueError` for something else."""
        triggers = []
        for part in text.split(","):
            match = re.fullmatch(r"\s*(.+):(\d+(?:\.\d+)?)(ms|s|m|)\s*", part)
            if not match:
                raise ValueError(f"'{part}' is no event, expected LABEL:TIME, such as cat:2s or dog:500ms")
            triggers.append(cls(match[1], float(match[2]) * _UNITS[match[3]]))
        return tuple(triggers)


class Events:
    """Runs a shell command once each time that a label has lasted; raises `DataError` for an unknown label.

    It runs beside the camera; while it still does, the event is left out. It finds `CATSDOGS_LABEL`,
    `CATSDOGS_PROBABILITY` and `CATSDOGS_FRAME` in its environment; what it prints goes to standard error.
    """

    def __init__(self, triggers: Sequence[Trigger], command: str, labels: Sequence[str]) -> None:
        for trigger in triggers:
            if trigger.label not in labels:
                raise DataError(f"the model knows no '{trigger.label}', only {', '.join(labels)}")
        self._triggers = triggers
        self._command = command
        self._label = ""
        self._since = 0.0
        self._done: set[Trigger] = set()
        self._running: subprocess.Popen[bytes] | None = None

    def write(self, result: FrameResult) -> bool:
        """Runs the command if it is due; never asks to stop."""
        self._reap()
        label = result.smoothed.label if result.smoothed else ""
        if label != self._label:
            self._label, self._since, self._done = label, result.frame.clock, set()
        for trigger in self._triggers:
            lasted = result.frame.clock - self._since
            if trigger.label == label and trigger not in self._done and lasted >= trigger.seconds:
                self._done.add(trigger)
                self._run(result)
        return True

    def _run(self, result: FrameResult) -> None:
        if self._running is not None:
            _log.warning("The command for '%s' is left out: the one before still runs.", self._label)
            return
        assert result.smoothed is not None  # noqa: S101 - for mypy; it has a label
        about = {
            "CATSDOGS_LABEL": self._label,
            "CATSDOGS_PROBABILITY": f"{result.smoothed.probability:.6f}",
            "CATSDOGS_FRAME": str(result.frame.number),
        }
        self._running = subprocess.Popen(  # noqa: S602 - the user's own command
            self._command,
            shell=True,  # what is seen reaches it through the environment only
            env=os.environ | about,
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr,
            stderr=sys.stderr,
            start_new_session=True,  # Ctrl-C ends the camera, not a door that is opening
        )

    def _reap(self) -> None:
        if self._running is not None and (code := self._running.poll()) is not None:
            self._running = None
            if code:
                _log.warning("The command failed with exit code %d: %s", code, self._command)

    def close(self) -> None:
        """Waits a little for a command that still runs."""
        if self._running is not None:
            try:
                self._running.wait(_LAST_WAIT)
            except subprocess.TimeoutExpired:
                _log.warning("The command still runs, and is left alone: %s", self._command)
                return
            self._reap()
