"""Runs a command when something has been seen for a while."""

import contextlib
import logging
import os
import re
import subprocess
import sys
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from catsdogs_edge.errors import DataError
from catsdogs_edge.images.jpeg import encode_jpeg
from catsdogs_edge.output.quota import timed_name
from catsdogs_edge.stream.frame_result import FrameResult
from catsdogs_edge.stream.pace import Pace
from catsdogs_edge.stream.regions import Region

_log = logging.getLogger(__name__)

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "": 1.0}
_QUALITY = 90
_KEPT = 10  # snapshots
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


@dataclass(slots=True)
class _Lasting:
    """What a source, or a region of it, shows, and since when."""

    label: str
    since: float
    """On the clock of its frames."""
    done: set[Trigger] = field(default_factory=set)


def _check_command(command: str) -> None:
    """Raises `DataError` for a command that cannot run: it would be noticed when the first one comes."""
    first = command.split(maxsplit=1)[0] if command.split() else ""
    if not first or first.startswith("-"):
        raise DataError(
            f"'{command}' is no command: --on takes an event and a command, such as --on cat:2s ./open-the-flap"
        )
    if re.fullmatch(r"[\w./~-]+", first) and "/" in first:
        path = Path(os.path.expanduser(first))  # noqa: PTH111 - of a user that does not exist, it stays as it is
        if not path.is_file():
            raise DataError(f"{first}, the command of --on, is not there")
        if not os.access(path, os.X_OK):
            raise DataError(f"{first}, the command of --on, may not be run: chmod +x {first}")


class Events:
    """Runs a shell command once each time that a label has lasted; raises `DataError` for an unknown label.

    Each source and each region counts for itself. It runs beside the camera; while it still does, the event is left
    out. What it prints goes to standard error. It finds in its environment: `CATSDOGS_LABEL`, `CATSDOGS_PROBABILITY`,
    `CATSDOGS_FRAME`, `CATSDOGS_TIME` (ISO 8601, UTC), `CATSDOGS_POSITION` (seconds in a video, else empty),
    `CATSDOGS_SOURCE`, `CATSDOGS_REGION` (empty for none), and `CATSDOGS_SNAPSHOT`, a JPEG of the frame; the last ten
    stay until the camera ends.
    """

    def __init__(self, triggers: Sequence[Trigger], command: str, labels: Sequence[str], source: str = "") -> None:
        """Takes the name of the source, where there is one."""
        for trigger in triggers:
            if trigger.label not in labels:
                raise DataError(f"the model knows no '{trigger.label}', only {', '.join(labels)}")
        _check_command(command)
        self._triggers = triggers
        self._source = source
        self._command = command
        self._lasting: dict[tuple[str, Region | None], _Lasting] = {}
        self._paces: dict[tuple[str, Region | None], Pace] = {}
        self._folder: TemporaryDirectory[str] | None = None
        self._snapshots: deque[Path] = deque()
        self._running: subprocess.Popen[bytes] | None = None

    def write(self, result: FrameResult) -> bool:
        """Runs the command if it is due; never asks to stop."""
        self._reap()
        for part in result.each():
            now = part.frame.clock
            key = part.source, part.region
            follows = self._paces.setdefault(key, Pace()).follows(now)  # a camera that was away saw nothing
            lasting = self._lasting.get(key)
            if lasting is None or lasting.label != part.label or not follows:
                lasting = self._lasting[key] = _Lasting(part.label, now)
            for trigger in self._triggers:
                is_due = trigger.label == part.label and now - lasting.since >= trigger.seconds
                if is_due and trigger not in lasting.done:
                    lasting.done.add(trigger)
                    self._run(part)
        return True

    def _run(self, result: FrameResult) -> None:
        if self._running is not None:
            _log.warning("The command for '%s' is left out: the one before still runs.", result.label)
            return
        assert result.smoothed is not None  # noqa: S101 - for mypy; it has a label
        about = {
            "CATSDOGS_SNAPSHOT": str(self._snapshot(result)),
            "CATSDOGS_LABEL": result.label,
            "CATSDOGS_PROBABILITY": f"{result.smoothed.probability:.6f}",
            "CATSDOGS_FRAME": str(result.frame.number),
            "CATSDOGS_TIME": result.frame.iso_time,
            "CATSDOGS_POSITION": "" if result.frame.position is None else f"{result.frame.position:.3f}",
            "CATSDOGS_SOURCE": result.source or self._source,
            "CATSDOGS_REGION": result.region.name if result.region else "",
        }
        try:
            self._running = subprocess.Popen(  # noqa: S602 - the user's own command
                self._command,
                shell=True,  # what is seen reaches it through the environment only
                env=os.environ | about,
                stdin=subprocess.DEVNULL,
                stdout=sys.stderr,
                stderr=sys.stderr,
                start_new_session=True,  # Ctrl-C ends the camera, not a door that is opening
                creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),  # the same on Windows
            )
        except OSError as error:  # such as a limit on processes: the camera goes on
            _log.warning("The command for '%s' cannot be started: %s", result.label, error)

    def _snapshot(self, result: FrameResult) -> Path | str:
        """Writes the frame as JPEG, in a place of this process; the last ones are kept."""
        if result.frame.rgb is None:
            return ""
        try:
            self._folder = self._folder or TemporaryDirectory(prefix="catsdogs-", ignore_cleanup_errors=True)
            path = Path(self._folder.name) / f"{timed_name(result.frame.time, result.label)}-{result.frame.number}.jpg"
            path.parent.mkdir(exist_ok=True)  # the system tidies such places up
            path.write_bytes(encode_jpeg(result.frame.rgb, _QUALITY))
        except OSError as error:  # the command is what matters
            _log.warning("There is no snapshot for the command: %s", error)
            return ""
        self._snapshots.append(path)
        while len(self._snapshots) > _KEPT:
            with contextlib.suppress(OSError):  # on Windows, somebody looks at it; it goes with the folder
                self._snapshots.popleft().unlink(missing_ok=True)
        return path

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
            self._reap()
        if self._folder:
            self._folder.cleanup()
