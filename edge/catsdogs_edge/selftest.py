"""A model file's own test: small drawn pictures, and the logits that this very file must give for them.

Run on a device, it proves decoding, resizing, the provider and the quantized kernels in a second.
"""

import base64
import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from catsdogs_edge.classifier import Classifier
from catsdogs_edge.drawings import draw
from catsdogs_edge.errors import ModelError
from catsdogs_edge.image import RgbBatch, RgbImage, decode, resize
from catsdogs_edge.integrity import is_intact
from catsdogs_edge.scores import softmax

KEY = "catsdogs.selftest"
"""Name of the entry in `metadata_props`:
`{"tolerance": T, "familiarity_tolerance": T, "probes": {NAME: {"file": BASE64, "logits": [...], "familiarity": F}}}`;
both entries on familiarity only where the model has it."""

_PROBABILITY_TOLERANCE = 2e-3  # the softmax is float32, but fp16 may round the logits once before it


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a self-test found."""

    differences: Mapping[str, float]
    """Largest absolute difference of logits for each picture, by its name."""
    tolerance: float
    """What is allowed."""
    intact: bool
    """Not one byte of the file has changed since it was published."""
    consistent: bool
    """The probabilities that it gives are the softmax of its logits."""
    familiar: bool = True
    """Its familiarity scores are what they must be, if it has any."""

    @property
    def largest(self) -> float:
        """Largest of the differences."""
        return float(np.max(list(self.differences.values())))  # not finite if one is not

    @property
    def passed(self) -> bool:
        """The file is intact and answers as it must."""
        return self.intact and self.consistent and self.familiar and self.largest <= self.tolerance


def record(classifier: Classifier, tolerance: float, familiarity_tolerance: float) -> dict[str, str]:
    """Asks a model about the pictures and gives the metadata entry that remembers its answers.

    Args:
        classifier: The model, on the CPU provider.
        tolerance: Largest difference of logits that another machine may show.
        familiarity_tolerance: The same of familiarity.
    """
    probes: dict[str, dict[str, Any]] = {}
    entry: dict[str, Any] = {"tolerance": tolerance, "probes": probes}
    for name, data in draw_probes().items():
        batch = _batch(classifier, data)
        logits = classifier.logits(batch)[0].tolist()
        probes[name] = {"file": base64.b64encode(data).decode("ascii"), "logits": logits}
        if classifier.contract.familiarity:
            entry["familiarity_tolerance"] = familiarity_tolerance
            probes[name]["familiarity"] = float(classifier.familiarity(batch)[0])
    return {KEY: json.dumps(entry)}


def run(classifier: Classifier, path: Path) -> Outcome:
    """Asks a model again and compares.

    Args:
        classifier: The model as it runs here, on any provider.
        path: Its file, to see whether a byte has changed.

    Raises:
        ModelError: The file carries no self-test, or a damaged one.
    """
    if KEY not in classifier.metadata:
        raise ModelError(f"{path} carries no self-test: export it again")
    try:
        entry = json.loads(classifier.metadata[KEY])
        tolerance = float(entry["tolerance"])
        expected = {
            name: (base64.b64decode(probe["file"]), [float(value) for value in probe["logits"]])
            for name, probe in entry["probes"].items()
        }
        has_score = classifier.contract.familiarity is not None
        familiarity = {name: float(probe["familiarity"]) for name, probe in entry["probes"].items() if has_score}
        familiarity_tolerance = float(entry["familiarity_tolerance"]) if has_score else 0.0
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{path} carries a damaged self-test ({error!r}): export it again") from error
    classes = len(classifier.contract.classes)
    if not expected or any(len(logits) != classes for _, logits in expected.values()):
        raise ModelError(f"{path} carries a damaged self-test (without {classes} logits a picture): export it again")
    differences = {}
    consistent = familiar = True
    for name, (data, logits) in expected.items():
        batch = _batch(classifier, data)
        answer = classifier.logits(batch)
        differences[name] = float(np.abs(answer[0] - logits).max())
        calibrated = softmax(answer / np.float32(classifier.contract.temperature))
        inconsistency = np.abs(classifier.probabilities(batch) - calibrated).max()
        consistent &= bool(inconsistency <= _PROBABILITY_TOLERANCE)
        if name in familiarity:
            familiar &= abs(float(classifier.familiarity(batch)[0]) - familiarity[name]) <= familiarity_tolerance
    return Outcome(differences, tolerance, is_intact(path, classifier.metadata), consistent, familiar)


def draw_probes() -> dict[str, bytes]:
    """Draws the pictures, each for a step that can go wrong on a device; encoded files by name."""
    pattern = draw("cat", 5, 500, grain=0)
    pattern[::2, 1::2] //= 3  # one pixel on, one off: what is left of it tells how a picture was made smaller
    pattern[1::2, ::2] //= 3
    return {
        "shrink.png": _encode(draw("cat", 1, 300, grain=0)[:, 30:], ".png"),
        "grow.png": _encode(draw("dog", 2, 96, grain=0), ".png"),
        "pattern.png": _encode(pattern, ".png"),
        "rotated.jpg": _rotated_jpeg(draw("dog", 3, 280, grain=0)[:, :240]),
    }


def _batch(classifier: Classifier, encoded: bytes) -> RgbBatch:
    return resize(decode(encoded), classifier.contract.image_size)[np.newaxis]


def _encode(rgb: RgbImage, ending: str) -> bytes:
    smallest = [cv2.IMWRITE_PNG_COMPRESSION, 9, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_DEFAULT]
    _, data = cv2.imencode(ending, cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), smallest if ending == ".png" else [])
    return data.tobytes()


def _rotated_jpeg(rgb: RgbImage) -> bytes:
    """Encodes a picture lying on its side, with the EXIF entry (orientation 6) that puts it upright."""
    jpeg = _encode(np.asarray(cv2.rotate(rgb, cv2.ROTATE_90_COUNTERCLOCKWISE), np.uint8), ".jpg")
    tiff = b"II*\0" + struct.pack("<IHHHIHHI", 8, 1, 0x0112, 3, 1, 6, 0, 0)
    segment = b"Exif\0\0" + tiff
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + jpeg[2:]
