"""What happens to a result: rows for programs, a window, a video, images, commands."""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TypeAlias

from catsdogs_edge.cam.clips import Clips
from catsdogs_edge.cam.events import Events, Trigger
from catsdogs_edge.cam.options import CamOptions
from catsdogs_edge.cam.overlay import Annotator
from catsdogs_edge.cam.recorder import AnnotatedFrames, Recorder, Segments
from catsdogs_edge.cam.watchdog import Watchdog
from catsdogs_edge.cam.window import Window
from catsdogs_edge.capture.sources import Source
from catsdogs_edge.collection.collector import Collector
from catsdogs_edge.errors import OutputError
from catsdogs_edge.model.info import ModelInfo
from catsdogs_edge.output.files import check_writable, is_utf8, make_folder
from catsdogs_edge.output.quota import Limit, Quota
from catsdogs_edge.output.rows import STANDARD_OUTPUT, CsvRows, JsonRows, Rows
from catsdogs_edge.output.terminal import redact
from catsdogs_edge.runtime.display import why_no_window
from catsdogs_edge.stream.explain import Explainer
from catsdogs_edge.stream.frame_result import FrameResult, Sink, columns, to_row
from catsdogs_edge.stream.model_file import ReplaceableModel
from catsdogs_edge.stream.regions import Region

Opener: TypeAlias = Callable[[], Sink]
"""Opens a sink."""

_log = logging.getLogger(__name__)

_SECONDS_BETWEEN_STATES = 1.0
_USUAL_LIMIT = Limit(bytes=500 * 10**6)  # of collected images


JSON_FIELDS = frozenset({"schema", "time", "frame", "state", "label"})
"""Fields that each row of ours has in JSON Lines."""

ALL_JSON_FIELDS = frozenset({"schema", "probabilities", *columns([], several=True, regions=True, motion=True)})
"""Fields that it may have."""


class RowSink:
    """A row for each frame, or for each region of it.

    Of a camera that is silent, or shows nothing that moves: one when that begins, and one a second.
    """

    def __init__(self, rows: Rows, info: ModelInfo) -> None:
        rows.begin()
        self.close = rows.close
        self._rows = rows
        self._classes = info.classes
        self._constant = info.row_fields()
        self._said: dict[tuple[str, Region | None], tuple[str, float]] = {}

    def write(self, result: FrameResult) -> bool:
        """Writes rows; never asks to stop. See `Sink.write`."""
        for part in result.each():
            if self._is_news(part):
                self._rows.write(to_row(part, self._classes, self._constant))
        return True

    def _is_news(self, part: FrameResult) -> bool:
        key, now = (part.source, part.region), part.frame.clock
        if part.moving is not False and (part.frame.rgb is not None or part.frame.path):
            self._said.pop(key, None)
            return True
        what = part.frame.state.value if part.frame.rgb is None else "still"
        before, when = self._said.get(key, ("", 0.0))
        if before == what and 0 <= now - when < _SECONDS_BETWEEN_STATES:
            return False
        self._said[key] = (what, now)
        return True


class PerSource:
    """Hands each result to the sink of its source, which is opened with the first one."""

    def __init__(self, open_sink: Callable[[str], Sink]) -> None:
        self._open_sink = open_sink
        self._sinks: dict[str, Sink] = {}

    def write(self, result: FrameResult) -> bool:
        """Writes it there; see `Sink.write`."""
        if result.source not in self._sinks:
            self._sinks[result.source] = self._open_sink(result.source)
        return self._sinks[result.source].write(result)

    def close(self) -> None:
        """Closes all of them."""
        with ExitStack() as stack:
            for sink in self._sinks.values():
                stack.callback(sink.close)


def open_sinks(
    options: CamOptions,
    triggers: Sequence[Trigger],
    model: ReplaceableModel,
    info: ModelInfo,
    sources: Sequence[Source],
    more: Iterable[Opener] = (),
    limit: Limit | None = None,
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
    if not (window or jsonl or options.has_output):
        jsonl = STANDARD_OUTPUT
    annotator = Annotator(info.provider)
    sinks: list[Sink] = []
    with ExitStack() as opened:
        if watchdog := Watchdog.from_environment():
            sinks.append(watchdog)
        for open_sink in (
            *_rows(options, info, jsonl, several=len(sources) > 1),
            *_recordings(options, annotator, sources, limit),
            *_collections(options, info, lambda: model.current.threshold, limit),
            *(_windows(options, annotator, Explainer(model), sources) if window else ()),
            *more,
            *_events(options, triggers, info, sources),  # last: it waits for its command, when all files are closed
        ):
            sinks.append(open_sink())
            opened.callback(sinks[-1].close)
        opened.pop_all()  # all are open: they stay so
    return sinks


def _rows(options: CamOptions, info: ModelInfo, jsonl: Path | None, *, several: bool) -> Iterator[Opener]:
    if jsonl:
        yield lambda: RowSink(
            JsonRows(jsonl, fields=JSON_FIELDS, known=ALL_JSON_FIELDS, append=True, rotates=True), info
        )
    if csv := options.csv:
        names = columns(info.classes, several=several, regions=bool(options.crop), motion=options.motion)
        yield lambda: RowSink(CsvRows(csv, names, append=True, rotates=True), info)


def _recordings(
    options: CamOptions, annotator: Annotator, sources: Sequence[Source], limit: Limit | None
) -> Iterator[Opener]:
    fps, live = sources[0].fps, sources[0].live
    if record := options.record:
        if options.records_into_folder:
            yield lambda: Segments(_open_quota(record, limit), annotator, fps, live=live)
        else:
            yield lambda: Recorder(record, annotator, fps, live=live)
    if save := options.save:
        yield lambda: AnnotatedFrames(save, annotator, options.save_when)
    if clips := options.clips:
        yield lambda: _open_clips(options, _open_quota(clips, limit), sources)


def _collections(
    options: CamOptions, info: ModelInfo, threshold: Callable[[], float | None], limit: Limit | None
) -> Iterator[Opener]:
    if collect := options.collect:
        yield lambda: Collector(_open_quota(collect, limit or _USUAL_LIMIT), info, threshold)


def _open_clips(options: CamOptions, quota: Quota, sources: Sequence[Source]) -> Sink:
    live = any(source.live for source in sources)

    def open_sink(source: str) -> Clips:
        return Clips(
            quota,
            before=options.clip_before,
            after=options.clip_after,
            live=live,
            fps=sources[0].fps,
            source=redact(source),
        )

    return PerSource(open_sink) if len(sources) > 1 else open_sink("")


def _open_quota(folder: Path, limit: Limit | None) -> Quota:
    if not is_utf8(folder):
        raise OutputError(f"{folder}: OpenCV takes no name that is not UTF-8: take another one")
    make_folder(folder)
    check_writable(folder)
    return Quota(folder.absolute(), limit)  # of a relative name, FFmpeg takes what is before a colon for a protocol


def _windows(
    options: CamOptions, annotator: Annotator, explainer: Explainer, sources: Sequence[Source]
) -> Iterator[Opener]:
    def open_window(name: str) -> Window:
        own = Annotator(annotator.provider)
        return Window(own, explainer, snapshots=options.save, title=f"catsdogs: {redact(name)}")

    source = sources[0]
    if len(sources) > 1:
        yield lambda: PerSource(open_window)
    else:
        yield lambda: Window(annotator, explainer, fps=0.0 if source.live else source.fps, snapshots=options.save)


def _events(
    options: CamOptions, triggers: Sequence[Trigger], info: ModelInfo, sources: Sequence[Source]
) -> Iterator[Opener]:
    if on := options.on:
        yield lambda: Events(triggers, on[1], info.labels, sources[0].name if len(sources) == 1 else "")
