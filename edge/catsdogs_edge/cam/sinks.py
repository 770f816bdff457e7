"""What happens to a result: rows for programs, a window, a video, images, commands."""

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack

from catsdogs_edge.cam.events import Events, Trigger
from catsdogs_edge.cam.frame_result import FrameResult, Sink, columns, to_row
from catsdogs_edge.cam.options import CamOptions
from catsdogs_edge.cam.overlay import Annotator
from catsdogs_edge.cam.recorder import AnnotatedFrames, Recorder
from catsdogs_edge.cam.watchdog import Watchdog
from catsdogs_edge.cam.window import Window
from catsdogs_edge.capture.sources import Source
from catsdogs_edge.model.info import ModelInfo
from catsdogs_edge.output.rows import STANDARD_OUTPUT, CsvRows, JsonRows, Rows
from catsdogs_edge.runtime.display import why_no_window

_log = logging.getLogger(__name__)

_SECONDS_BETWEEN_STATES = 1.0


JSON_FIELDS = frozenset({"schema", "time", "frame", "state", "label"})
"""Fields that each row of ours has in JSON Lines."""

ALL_JSON_FIELDS = frozenset({"schema", "probabilities", *columns([])})
"""Fields that it may have."""


class RowSink:
    """A row for each frame; of a camera that is silent, one for each change of state and one a second."""

    def __init__(self, rows: Rows, info: ModelInfo) -> None:
        rows.begin()
        self.close = rows.close
        self._rows = rows
        self._classes = info.classes
        self._constant = info.row_fields()
        self._said = ("", 0.0)

    def write(self, result: FrameResult) -> bool:
        """Writes a row; never asks to stop. See `Sink.write`."""
        state, now = result.frame.state.value, time.monotonic()
        if result.frame.rgb is not None or result.frame.path:
            self._said = ("", 0.0)
        elif self._said[0] == state and now - self._said[1] < _SECONDS_BETWEEN_STATES:
            return True
        else:
            self._said = (state, now)
        self._rows.write(to_row(result, self._classes) | self._constant)
        return True


def open_sinks(
    options: CamOptions,
    triggers: Sequence[Trigger],
    info: ModelInfo,
    source: Source,
    more: Iterable[Callable[[], Sink]] = (),
) -> list[Sink]:
    """Opens what the user asked for, and `more`; if that shows nothing anywhere, JSON Lines on standard output.

    A window that cannot be is said once, and all goes on without. Raises `OutputError` where something cannot be
    written, `DataError` for an event of a label that the model does not know.
    """
    window = not options.no_window
    if window and (reason := why_no_window()):
        _log.info("No window: %s.", reason)
        window = False
    jsonl = options.jsonl
    elsewhere = options.csv or options.record or options.save or options.web or options.mqtt
    if not (window or jsonl or elsewhere or triggers):
        jsonl = STANDARD_OUTPUT
    annotator = Annotator(info.provider)
    sinks: list[Sink] = []
    with ExitStack() as opened:

        def add(sink: Sink) -> None:
            sinks.append(sink)
            opened.callback(sink.close)

        if watchdog := Watchdog.from_environment():
            add(watchdog)
        if jsonl:
            add(RowSink(JsonRows(jsonl, fields=JSON_FIELDS, known=ALL_JSON_FIELDS, append=True, rotates=True), info))
        if options.csv:
            add(RowSink(CsvRows(options.csv, columns(info.classes), append=True, rotates=True), info))
        if options.record:
            add(Recorder(options.record, annotator, source.fps, live=source.live))
        if options.save:
            add(AnnotatedFrames(options.save, annotator))
        if window:
            add(Window(annotator, fps=0.0 if source.live else source.fps, snapshots=options.save))
        for open_sink in more:
            add(open_sink())
        if options.on:  # last: it waits for its command, when all files are closed
            add(Events(triggers, options.on[1], info.labels))
        opened.pop_all()  # all are open: they stay so
    return sinks
