"""A model file's own test: small drawn images, and the logits that this very file must give for them.

Run on a device, it proves decoding, resizing, the provider and the quantized kernels in a second.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import msgspec
import numpy as np

from catsdogs_edge.errors import ModelError
from catsdogs_edge.images.decode import RgbImage, decode, resize
from catsdogs_edge.images.drawings import draw
from catsdogs_edge.model.classifier import Classifier
from catsdogs_edge.model.scores import Outputs, softmax
from catsdogs_edge.output.json_text import from_json, to_json

SELFTEST_KEY = "catsdogs.selftest"
"""Name of the entry in `metadata_props`:
`{"tolerance": T, "probes": {NAME: {"file": BASE64, "logits": [...], "familiarity": F}}, "familiarity_tolerance": T}`;
both entries on familiarity only where the model has it."""

_PROBABILITY_TOLERANCE = 2e-3  # the softmax is float32, but fp16 may round the logits once before it


class _Probe(msgspec.Struct, omit_defaults=True):
    file: bytes
    logits: list[float]
    familiarity: float | None = None


class _Entry(msgspec.Struct, omit_defaults=True):
    tolerance: float
    probes: dict[str, _Probe]
    familiarity_tolerance: float | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a self-test found."""

    differences: Mapping[str, float]
    """Largest absolute difference of logits for each image, by its name."""
    tolerance: float
    intact: bool | None
    """Whether not one byte of the file has changed since it was published."""
    consistent: bool
    """Whether the probabilities are the softmax of the logits."""
    familiar: bool = True
    """Whether the familiarity scores are as expected, if there are any."""

    @property
    def largest(self) -> float:
        """Largest of the differences; not finite if one is not."""
        return float(np.max(list(self.differences.values())))

    @property
    def passed(self) -> bool:
        """Whether the file is intact and answers as it must."""
        return bool(self.intact) and self.consistent and self.familiar and self.largest <= self.tolerance


def record(classifier: Classifier, tolerance: float, familiarity_tolerance: float) -> dict[str, str]:
    """Asks a model, on the CPU, and returns the metadata entry that remembers its answers and tolerances."""
    entry = _Entry(tolerance, {}, familiarity_tolerance if classifier.contract.familiarity else None)
    for name, data in draw_probes().items():
        outputs = _ask(classifier, data)
        score = None if outputs.familiarity is None else float(outputs.familiarity[0])
        entry.probes[name] = _Probe(data, outputs.logits[0].tolist(), score)
    return {SELFTEST_KEY: to_json(entry)}


def run(classifier: Classifier, path: Path) -> Outcome:
    """Asks a model, on any provider, again and compares; `path` is for messages.

    Raises `ModelError` where it carries no self-test, or a damaged one.
    """
    entry = _read_entry(classifier, path)
    differences = {}
    consistent = familiar = True
    for name, probe in entry.probes.items():
        outputs = _ask(classifier, probe.file)
        differences[name] = float(np.abs(outputs.logits[0] - probe.logits).max())
        inconsistency = np.abs(outputs.probabilities - softmax(outputs.logits, classifier.contract.temperature)).max()
        consistent &= bool(inconsistency <= _PROBABILITY_TOLERANCE)
        if outputs.familiarity is not None and probe.familiarity is not None:
            difference = abs(float(outputs.familiarity[0]) - probe.familiarity)
            familiar &= difference <= (entry.familiarity_tolerance or 0.0)
    return Outcome(differences, entry.tolerance, classifier.intact, consistent, familiar)


def require(classifier: Classifier, path: Path) -> None:
    """Raises `ModelError` where a model does not pass its own test here; `path` is for messages."""
    outcome = run(classifier, path)
    if not outcome.passed:
        raise ModelError(
            f"{path} does not pass its own test here: logits differ by {outcome.largest:.3g}, expected "
            f"{outcome.tolerance:.3g} at most (catsdogs-doctor --model {path} says more)"
        )


def _read_entry(classifier: Classifier, path: Path) -> _Entry:
    contract = classifier.contract
    if classifier.intact is None:
        raise ModelError(f"{path} holds no hash of itself: export it again")
    if SELFTEST_KEY not in classifier.metadata:
        raise ModelError(f"{path} carries no self-test: export it again")
    try:
        entry = from_json(classifier.metadata[SELFTEST_KEY], _Entry)
    except ValueError as error:
        raise ModelError(f"{path} carries a damaged self-test ({error}): export it again") from error
    classes = len(contract.classes)
    if not entry.probes or any(len(probe.logits) != classes for probe in entry.probes.values()):
        raise ModelError(f"{path} carries a damaged self-test (without {classes} logits an image): export it again")
    scores = [entry.familiarity_tolerance, *(probe.familiarity for probe in entry.probes.values())]
    if contract.familiarity and None in scores:
        raise ModelError(f"{path} carries a damaged self-test (without familiarity): export it again")
    return entry


def draw_probes() -> dict[str, bytes]:
    """Draws the images, each for a step that can go wrong on a device; encoded files by name."""
    pattern = draw("cat", 5, 500, grain=0)
    pattern[::2, 1::2] //= 3  # one pixel on, one off: what is left of it tells how an image was made smaller
    pattern[1::2, ::2] //= 3
    return {
        "shrink.png": _encode(draw("cat", 1, 300, grain=0)[:, 30:], ".png"),
        "grow.png": _encode(draw("dog", 2, 96, grain=0), ".png"),
        "pattern.png": _encode(pattern, ".png"),
        "rotated.jpg": _rotated_jpeg(draw("dog", 3, 280, grain=0)[:, :240]),
    }


def _ask(classifier: Classifier, encoded: bytes) -> Outputs:
    return classifier.predict(resize(decode(encoded), classifier.contract.image_size)[np.newaxis])


def _encode(rgb: RgbImage, ending: str) -> bytes:
    smallest = [cv2.IMWRITE_PNG_COMPRESSION, 9, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_DEFAULT]
    _, data = cv2.imencode(ending, cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), smallest if ending == ".png" else [])
    return data.tobytes()


def _rotated_jpeg(rgb: RgbImage) -> bytes:
    """Encodes an image lying on its side, with the EXIF entry (orientation 6) that puts it upright."""
    jpeg = _encode(np.asarray(cv2.rotate(rgb, cv2.ROTATE_90_COUNTERCLOCKWISE), np.uint8), ".jpg")
    tiff = b"II*\0" + struct.pack("<IHHHIHHI", 8, 1, 0x0112, 3, 1, 6, 0, 0)
    segment = b"Exif\0\0" + tiff
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + jpeg[2:]
