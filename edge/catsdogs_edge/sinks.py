"""What happens to a sighting: rows for programs, a window, a video, pictures, commands."""

import logging
import time
from dataclasses import dataclass
from pathlib import Path

from catsdogs_edge.events import Events, Trigger
from catsdogs_edge.recorder import PictureFolder, Recorder
from catsdogs_edge.rows import STANDARD_OUTPUT, Rows, open_csv, open_jsonl
from catsdogs_edge.sightings import Origin, Sighting, Sink, columns, to_row
from catsdogs_edge.sources import Source
from catsdogs_edge.window import Window

_log = logging.getLogger(__name__)

_SECONDS_BETWEEN_STATES = 1.0


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the user asked for."""

    window: bool = True
    """A window; where that cannot be, it is said once, and all goes on without."""
    jsonl: Path | None = None
    """File for JSON Lines, `-` for standard output."""
    csv: Path | None = None
    """File for CSV, `-` for standard output."""
    record: Path | None = None
    """Video file."""
    save: Path | None = None
    """Folder for annotated pictures."""
    triggers: tuple[Trigger, ...] = ()
    """When to run `command`."""
    command: str = ""
    """For the shell."""


class RowSink:
    """A row for each frame; of a camera that is silent, one for each change of state and one a second."""

    def __init__(self, rows: Rows, origin: Origin) -> None:
        self._rows = rows
        self._classes = origin.classes
        self._about = origin.about()
        self._said = ("", 0.0)

    def write(self, sighting: Sighting) -> bool:
        """Writes one; never asks to stop.

        Raises:
            OutputError: The disk is full.
        """
        state, now = sighting.frame.state.value, time.monotonic()
        if sighting.frame.bgr is not None or sighting.frame.path:
            self._said = ("", 0.0)
        elif self._said[0] == state and now - self._said[1] < _SECONDS_BETWEEN_STATES:
            return True
        else:
            self._said = (state, now)
        self._rows.write(to_row(sighting, self._classes) | self._about)
        return True

    def close(self) -> None:
        """Closes the file."""
        self._rows.close()


def open_sinks(wanted: Wanted, origin: Origin, source: Source) -> list[Sink]:
    """Opens what the user asked for; if that shows nothing anywhere, JSON Lines on standard output.

    Args:
        wanted: What to open.
        origin: For rows and pictures.
        source: Its frame rate sets that of window and video.

    Raises:
        OutputError: Something cannot be written.
        DataError: An event for a label that the model does not know.
    """
    window = wanted.window
    if window and (reason := Window.why_not()):
        _log.info("No window: %s.", reason)
        window = False
    jsonl = wanted.jsonl
    if not window and not (wanted.jsonl or wanted.csv or wanted.record or wanted.save or wanted.triggers):
        jsonl = STANDARD_OUTPUT
    sinks: list[Sink] = []
    try:
        if jsonl:
            sinks.append(RowSink(open_jsonl(jsonl), origin))
        if wanted.csv:
            sinks.append(RowSink(open_csv(wanted.csv, columns(origin.classes)), origin))
        if wanted.record:
            sinks.append(Recorder(wanted.record, origin.provider, source.fps, live=source.live))
        if wanted.save:
            sinks.append(PictureFolder(wanted.save, origin.provider))
        if window:
            fps = 0.0 if source.live else source.fps
            sinks.append(Window(origin.provider, fps=fps, snapshots=wanted.save))
        if wanted.triggers:  # last: it waits for its command, when all files are closed
            sinks.append(Events(wanted.triggers, wanted.command, origin.labels))
    except BaseException:
        for sink in sinks:
            sink.close()
        raise
    return sinks
