"""Who came, when, and for how long: what is left of a video, or of a day at the cat flap."""

import time
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from catsdogs_edge.capture.frames import Frame, iso_time
from catsdogs_edge.errors import DataError, OutputError
from catsdogs_edge.model.contract import NEITHER
from catsdogs_edge.model.prediction import percent
from catsdogs_edge.output.files import atomic_file, make_folder
from catsdogs_edge.output.json_text import from_json, to_json
from catsdogs_edge.output.rows import CsvRows
from catsdogs_edge.output.terminal import redact
from catsdogs_edge.stream.frame_result import FrameResult
from catsdogs_edge.stream.pace import Pace
from catsdogs_edge.stream.regions import Region

COLUMNS = ("label", "start", "end", "seconds", "start_s", "end_s", "best_probability", "frames", "source", "region")
"""Of a CSV of visits. `start` and `end`: ISO 8601, UTC, of a camera; `start_s` and `end_s`: position in a video;
`best_probability`: of any frame of the visit; `frames`: that were classified."""

_MOST_KEPT = 1000  # visits that may be shown at the end
_MOST_SHOWN = 20
_MOST_IN_JSON = 10_000  # visits: it is written anew with each


@dataclass(slots=True, kw_only=True)
class Visit:
    """A stretch of time in which one source, or a region of it, showed one class."""

    label: str
    source: str
    region: str
    start: float
    """Seconds since 1970 (UTC)."""
    end: float
    start_s: float | None
    """Position in a video, in seconds; None for a camera."""
    end_s: float | None
    clocks: tuple[float, float]
    """Beginning and end on the clock of the scene, which nobody sets: `Frame.clock`, in seconds."""
    best_probability: float
    """Of the label, in any frame: 0 to 1."""
    frames: int = 1

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.clocks[1] - self.clocks[0]

    def end_with(self, frame: Frame) -> None:
        """Takes a frame for the last one in which it was there."""
        self.end, self.end_s, self.clocks = frame.time, frame.position, (self.clocks[0], frame.clock)

    def fields(self) -> dict[str, Any]:
        """Returns it as a row; see `COLUMNS`."""
        return {
            "label": self.label,
            "start": iso_time(self.start) if self.start_s is None else None,  # a video is read at another time
            "end": iso_time(self.end) if self.end_s is None else None,
            "seconds": round(self.seconds, 3),
            "start_s": None if self.start_s is None else round(self.start_s, 3),
            "end_s": None if self.end_s is None else round(self.end_s, 3),
            "best_probability": round(self.best_probability, 6),
            "frames": self.frames,
            "source": redact(self.source) or None,
            "region": self.region or None,
        }

    def moments(self) -> tuple[str, str]:
        """Returns when it began and ended, for people: in the video, or by the clock, with another day than today."""
        if self.start_s is not None and self.end_s is not None:
            return _position(self.start_s), _position(self.end_s)
        start, end, now = (
            datetime.fromtimestamp(moment, UTC).astimezone() for moment in (self.start, self.end, time.time())
        )
        form = "%H:%M:%S" if start.date() == end.date() == now.date() else "%Y-%m-%d %H:%M:%S"
        return start.strftime(form), end.strftime(form)


@dataclass(slots=True)
class _View:
    """What one source, or a region of it, shows."""

    label: str = ""
    clock: float = 0.0
    pace: Pace = field(default_factory=Pace)
    visit: Visit | None = None
    seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    frames: Counter[str] = field(default_factory=Counter)
    visits: Counter[str] = field(default_factory=Counter)

    def by_label(self) -> dict[str, dict[str, Any]]:
        """Returns frames, seconds and visits of each label."""
        labels = sorted({*+self.frames, *self.seconds}, key=lambda label: (label == NEITHER, label))
        return {
            label: {
                "frames": self.frames[label],
                "seconds": round(self.seconds[label], 3),
                "visits": None if label == NEITHER else self.visits[label],
            }
            for label in labels
        }


class Visits:
    """Counts seconds and visits while results pass by; writes visits to a file as they end.

    A visit is a stretch of one smoothed label; `neither` is none.
    """

    def __init__(self, source: str, path: Path | None = None) -> None:
        """Opens a `.csv` to add rows to, or a `.json` with the last 10,000 visits of this run, written anew after each.

        `source` is the name of the only source. Raises `DataError` for another ending, `OutputError` where it cannot be
        written, or holds something else.
        """
        if path and path.suffix.lower() not in {".csv", ".json"}:
            raise DataError(f"{path}: visits are written to .csv or .json")
        self._source = source
        self._views: dict[tuple[str, Region | None], _View] = {}
        self._rows = CsvRows(path, COLUMNS, append=True, rotates=True) if path and _is_csv(path) else None
        self._json = None if path is None or self._rows else path
        self._all: deque[dict[str, Any]] = deque(maxlen=_MOST_IN_JSON)
        self._kept: deque[Visit] = deque(maxlen=_MOST_KEPT)
        self._images: Counter[str] = Counter()
        self.count = 0
        self._has_begun = False
        if self._rows:
            self._rows.begin()
        if self._json:
            make_folder(self._json.parent)
            _check_ours(self._json)

    def write(self, result: FrameResult) -> bool:
        """Takes a result; never asks to stop. Raises `OutputError` where a visit cannot be written."""
        self._has_begun = True
        for part in result.each():
            self._add(part)
        return True

    def _add(self, part: FrameResult) -> None:
        if part.frame.path:  # images have nothing to do with one another
            self._images[part.label] += part.prediction is not None
            return
        view = self._views.setdefault((part.source, part.region), _View())
        gap = part.frame.clock - view.clock
        follows = view.pace.follows(part.frame.clock)  # a camera that was away saw nothing
        is_seen = bool(view.label) and follows
        if is_seen:
            view.seconds[view.label] += gap
        if part.prediction is not None:
            view.frames[part.label] += 1
        if view.visit and (part.label != view.label or not is_seen):
            self._end(view, part if is_seen else None)
        if part.shows_class:
            self._go_on(view, part)
        view.label, view.clock = part.label, part.frame.clock

    def _go_on(self, view: _View, part: FrameResult) -> None:
        frame = part.frame
        smoothed, prediction = part.smoothed, part.prediction
        best = smoothed.probability if smoothed else 0.0
        if prediction:
            best = prediction.probabilities.get(part.label, best)
        if view.visit is None:
            view.visit = Visit(
                label=part.label,
                source=part.source or self._source,
                region=part.region.name if part.region else "",
                start=frame.time,
                end=frame.time,
                start_s=frame.position,
                end_s=frame.position,
                clocks=(frame.clock, frame.clock),
                best_probability=best,
            )
            return
        visit = view.visit
        visit.end_with(frame)
        visit.best_probability = max(visit.best_probability, best)
        visit.frames += prediction is not None

    def _end(self, view: _View, last: FrameResult | None) -> None:
        visit, view.visit = view.visit, None
        assert visit is not None  # noqa: S101 - for mypy
        if last is not None:  # until then, it was there
            visit.end_with(last.frame)
        self.count += 1
        view.visits[visit.label] += 1
        self._kept.append(visit)
        if self._rows:
            self._rows.write(visit.fields())
        if self._json:
            self._all.append(visit.fields())
            self._write_json()

    def _write_json(self) -> None:
        assert self._json is not None  # noqa: S101 - for mypy
        places = [
            {
                "source": redact(source or self._source) or None,
                "region": region.name if region else None,
                "labels": view.by_label(),
            }
            for (source, region), view in self._views.items()
        ]
        document = {"places": places, "visits": list(self._all)}
        with atomic_file(self._json) as temporary:
            temporary.write_text(to_json(document, indent=2) + "\n", encoding="utf-8")

    def close(self) -> None:
        """Ends the visits that go on, and closes the file."""
        for view in self._views.values():
            if view.visit:
                self._end(view, None)
        if self._json and self._has_begun:  # else what is there is of an earlier run, and this one could not start
            self._write_json()
        if self._rows:
            self._rows.close()

    def describe(self) -> Iterator[str]:
        """Yields the lines of two tables: labels, and the last visits; nothing where nothing was seen."""
        images: list[tuple[str, ...]] = [(label, str(count)) for label, count in sorted(self._images.items()) if count]
        if images:
            yield from _table(("label", "images"), images)
        rows: list[tuple[str, ...]] = []
        where = ("where",) if len(self._views) > 1 else ()
        for (source, region), view in self._views.items():
            for label, row in view.by_label().items():
                visits = "" if row["visits"] is None else str(row["visits"])
                place = (_place(source or self._source, region.name if region else ""),) if where else ()
                rows.append((label, str(row["frames"]), f"{row['seconds']:.1f}", visits, *place))
        if rows:
            yield from _table(("label", "frames", "seconds", "visits", *where), rows)
        shown = list(self._kept)[-_MOST_SHOWN:]
        if not shown:
            return
        yield ""
        visits_table: list[tuple[str, ...]] = []
        for visit in shown:
            place = (_place(visit.source, visit.region),) if where else ()
            visits_table.append((visit.label, *visit.moments(), percent(visit.best_probability).strip(), *place))
        yield from _table(("label", "from", "to", "best", *where), visits_table)
        more = self.count - len(shown)
        if more:
            yield f"and {more} before these{'' if self._rows else '; --visits FILE.csv would have all'}"


def _table(names: Iterable[str], rows: list[tuple[str, ...]]) -> Iterator[str]:
    """Yields lines with columns of equal width: the first to the left, all others to the right."""
    every = [tuple(names), *rows]
    widths = [max(map(len, column)) for column in zip(*every, strict=True)]
    for row in every:
        first, *rest = (
            text.ljust(width) if not index else text.rjust(width)
            for index, (text, width) in enumerate(zip(row, widths, strict=True))
        )
        yield "  ".join(["", first, *rest]).rstrip()


def _place(source: str, region: str) -> str:
    return ": ".join(filter(None, (redact(source), region)))


def _check_ours(path: Path) -> None:
    """Refuses to replace a file that holds something else; raises `OutputError`."""
    if not path.exists():
        return
    try:
        is_ours = from_json(path.read_bytes(), dict[str, Any]).keys() == {"places", "visits"}
    except (OSError, ValueError):
        is_ours = False
    if not is_ours:
        raise OutputError(f"{path} holds something else than visits: choose another name")


def _is_csv(path: Path) -> bool:
    return path.suffix.lower() == ".csv"


def _position(seconds: float) -> str:
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(int(minutes), 60)
    return f"{hours}:{minutes:02}:{rest:04.1f}" if hours else f"{minutes}:{rest:04.1f}"
