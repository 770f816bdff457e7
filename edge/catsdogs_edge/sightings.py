"""What is known about a frame once the model has seen it, and the same as a row for CSV and JSON Lines."""

import hashlib
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from catsdogs_edge.classifier import Classifier
from catsdogs_edge.contract import NEITHER, Precision
from catsdogs_edge.decision import Prediction
from catsdogs_edge.frames import Frame
from catsdogs_edge.rows import SCHEMA, familiarity_of, probabilities_of
from catsdogs_edge.smoothing import Steady


@dataclass(frozen=True, slots=True)
class Sighting:
    """One frame, and what it was taken for."""

    frame: Frame
    """What was seen."""
    prediction: Prediction | None
    """What it was taken for; None where `frame.error` says why it was not classified."""
    steady: Steady | None
    """The smoothed answer; None likewise."""
    latency_ms: float
    """From the frame in memory to the prediction: colour order, resize and inference; 0 without one."""
    fps: float
    """Classified frames a second, averaged over the last second or so."""


class Sink(Protocol):
    """Somewhere to put sightings."""

    def write(self, sighting: Sighting) -> bool:
        """Takes one; returns False when the user wants to stop."""

    def close(self) -> None:
        """Releases what it holds."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Which model answers, and where: the same in every row."""

    classes: tuple[str, ...]
    """Names for the probabilities, in the order of the contract."""
    provider: str
    """ONNX Runtime's name of what it runs on."""
    precision: Precision
    """Of the model file."""
    path: Path
    """The model file."""
    labels: tuple[str, ...]
    """All that it may answer: the classes and, if it can and may say so, neither."""
    has_familiarity: bool
    """Whether the file has the score that it takes to say so."""

    @classmethod
    def of(cls, classifier: Classifier, path: Path) -> "Origin":
        """Describes a classifier that was loaded from `path`."""
        has_familiarity = classifier.contract.familiarity is not None
        contract = classifier.contract
        return cls(contract.classes, classifier.provider, contract.precision, path, classifier.labels, has_familiarity)

    def about(self) -> dict[str, str]:
        """Gives what every row says: the provider, and the model file's SHA-256 as `sha256sum` prints it."""
        with self.path.open("rb") as stream:
            return {"provider": self.provider, "model": hashlib.file_digest(stream, "sha256").hexdigest()}

    def describe(self) -> str:
        """Says it in a few words."""
        words = f"{self.path.name} ({self.precision.value}) on {self.provider}"
        return words if self.has_familiarity else f"{words}; it has no familiarity score, so it cannot say '{NEITHER}'"


def columns(classes: tuple[str, ...]) -> list[str]:
    """Names the columns of a CSV of sightings."""
    before = ["time", "frame", "state", "age_ms", "dropped", "label", "probability", "familiarity"]
    after = ["smoothed_label", "smoothed_probability", "latency_ms", "position_s", "path", "error", "provider", "model"]
    return [*before, *classes, *after]


def to_row(sighting: Sighting, classes: tuple[str, ...]) -> dict[str, Any]:
    """Turns a sighting into a row; what is not known is None.

    The fields: `schema`, version of this list; `time`, when the frame was captured (ISO 8601, UTC); `frame`, its
    number; `state` of the source; `age_ms`, from capture to this row; `dropped`, frames since the one before that
    nobody looked at; `label`, `probability`, `familiarity`, `probabilities`; `smoothed_label`,
    `smoothed_probability`; `latency_ms` of the model; `position_s` in a video; `path` of a picture; `error`, why there
    is no label. `Origin.about` adds `provider` and `model`.
    """
    frame, prediction, steady = sighting.frame, sighting.prediction, sighting.steady
    return {
        "schema": SCHEMA,
        "time": datetime.fromtimestamp(frame.time, UTC).isoformat(timespec="milliseconds"),
        "frame": frame.number,
        "state": frame.state.value,
        "age_ms": round(1000 * (time.monotonic() - frame.captured), 1),
        "dropped": frame.dropped,
        "label": prediction.label if prediction else None,
        "probability": round(prediction.probability, 6) if prediction else None,
        "familiarity": familiarity_of(prediction),
        "probabilities": probabilities_of(prediction, classes),
        "smoothed_label": steady.label if steady else None,
        "smoothed_probability": round(steady.probability, 6) if steady else None,
        "latency_ms": round(sighting.latency_ms, 2) if prediction else None,
        "position_s": None if frame.position is None else round(frame.position, 3),
        "path": frame.path or None,
        "error": frame.error or None,
    }
