"""What is known about a frame once the model has seen it, and the same as a row for CSV and JSON Lines."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from catsdogs_edge.capture.frames import Frame
from catsdogs_edge.model.contract import NEITHER
from catsdogs_edge.model.prediction import Prediction, percent, prediction_columns, prediction_fields
from catsdogs_edge.output.rows import SCHEMA
from catsdogs_edge.stream.regions import Region
from catsdogs_edge.stream.smoothing import SmoothedPrediction


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameResult:
    """One frame, and what it was taken for."""

    frame: Frame
    prediction: Prediction | None = None
    """None where `frame.error` says why the frame was not classified."""
    smoothed: SmoothedPrediction | None = None
    latency_ms: float = 0.0
    """From the frame in memory to the prediction: resize and inference; 0 without one."""
    fps: float
    """Classified frames a second, averaged over the last second or so."""
    moving: bool | None = None
    """False where nothing moves: the smoothed answer is that of before, and there is no prediction; None: not asked."""
    source: str = ""
    """Which of several sources; empty where there is one."""
    region: Region | None = None
    """The part of the frame that was classified; None for all of it."""
    model: str = ""
    """SHA-256 of the file of the model that answered, where it has been replaced since the start; else empty."""
    regions: tuple["FrameResult", ...] = ()
    """One for each region of the frame, if there are any: this one says what the first says that sees a class."""

    def each(self) -> tuple["FrameResult", ...]:
        """Returns what was found in the frame: this, or one result for each region."""
        return self.regions or (self,)

    @property
    def label(self) -> str:
        """The smoothed label; empty where the frame was not classified."""
        return self.smoothed.label if self.smoothed else ""

    @property
    def shows_class(self) -> bool:
        """Whether the smoothed label is one of the classes: there is one, and it is not `NEITHER`."""
        return self.label not in {"", NEITHER}

    def __str__(self) -> str:
        if self.smoothed is None:
            return f"{self.frame.state.value}: {self.frame.error}"
        return f"{self.smoothed.label} {percent(self.smoothed.probability).strip()}"


class Sink(Protocol):
    """Somewhere to put results."""

    def write(self, result: FrameResult) -> bool:
        """Takes a result; returns False when the user wants to stop. Raises `OutputError` where it cannot write."""

    def close(self) -> None:
        """Releases what it holds, if anything."""
        return


def columns(classes: Sequence[str], *, several: bool = False, regions: bool = False, motion: bool = False) -> list[str]:
    """Returns the columns of a CSV of results; there are more for several sources, for regions, and with motion."""
    before = ["time", "frame", "state", "age_ms", "dropped"]
    after = ["smoothed_label", "smoothed_probability", "latency_ms", "position_s", "path", "error", "provider", "model"]
    more = [name for name, asked in (("source", several), ("region", regions), ("moving", motion)) if asked]
    return [*before, *prediction_columns(classes), *after, *more]


def to_row(result: FrameResult, classes: Sequence[str], constant: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Turns a result into a row; None for what is not known.

    The fields: `schema`, version of this list; `time`, when the frame was captured (ISO 8601, UTC); `frame`, its
    number; `state` of the source; `age_ms`, from capture to this row; `dropped`, frames since the one before that
    nobody looked at; those of `prediction_fields`; `smoothed_label`, `smoothed_probability`; `latency_ms` of the
    model; `position_s` in a video; `path` of an image; `error`, why there is no label; and, where they were asked for,
    `source`, `region` (its name) and `moving`. `constant` adds `provider` and `model` (`ModelInfo.row_fields`).
    """
    frame, prediction, smoothed = result.frame, result.prediction, result.smoothed
    return {
        "schema": SCHEMA,
        "time": frame.iso_time,
        "frame": frame.number,
        "state": frame.state.value,
        "age_ms": round(1000 * (time.monotonic() - frame.captured), 1),
        "dropped": frame.dropped,
        **prediction_fields(prediction, classes),
        "smoothed_label": smoothed.label if smoothed else None,
        "smoothed_probability": round(smoothed.probability, 6) if smoothed else None,
        "latency_ms": round(result.latency_ms, 2) if prediction else None,
        "position_s": None if frame.position is None else round(frame.position, 3),
        "path": frame.path or None,
        "error": frame.error or None,
        **({"source": result.source} if result.source else {}),
        **({"region": result.region.name} if result.region else {}),
        **({} if result.moving is None else {"moving": result.moving}),
        **(constant or {}),
        **({"model": result.model} if result.model else {}),
    }
