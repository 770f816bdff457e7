"""What a model file says about itself, so that nobody has to guess.

The contract is JSON under one key of the ONNX file's `metadata_props`. Any ONNX Runtime, in any language, can read it;
catsdogs refuses a file that has none.
"""

import math
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Any

import msgspec
from msgspec import Struct, field

from catsdogs_edge.errors import ModelError
from catsdogs_edge.output.json_text import from_json, to_json

CONTRACT_KEY = "catsdogs.contract"
"""Name of the entry in `metadata_props`."""

NEITHER = "neither"
"""The label of an image that shows none of the classes."""

VERSION = "1.2"
"""Major and minor: a reader refuses a newer major version, and passes over fields of a newer minor one."""

LARGEST_IMAGE = 4096
"""Most pixels of an edge of the input."""

RESERVED = frozenset(
    {
        "age_ms", "dropped", "error", "familiarity", "frame", "label", "latency_ms", "model", "moving", "path",
        "position_s", "probabilities", "probability", "provider", "region", "schema", "smoothed_label",
        "smoothed_probability", "sorted_to", "source", "state", "time",
    }
)  # fmt: skip
"""Names of the other columns of rows, which no class can have."""

_LONGEST_REASON = 300  # characters

# The same in ONNX's own words (onnx/docs/MetadataProps.md), for tools that know those
_ONNX_IMAGE_KEYS = {
    "Image.BitmapPixelFormat": "Rgb8",
    "Image.ColorSpaceGamma": "SRGB",
    "Image.NominalPixelRange": "NominalRange_0_255",
}


class Precision(StrEnum):
    """Number format of the weights and activations."""

    FP32 = "fp32"
    FP16 = "fp16"
    INT8 = "int8"


class Preprocessing(Struct, frozen=True, kw_only=True):
    """How pixels reach the model; these are the only values that this version knows."""

    colour_order: str = "RGB"
    layout: str = "NHWC"
    dtype: str = "uint8"
    """Pixels go in as decoded, 0 to 255: mean subtraction is part of the graph."""
    exif: str = "applied"
    """Whether the image is turned upright before it is resized."""
    resize: str = "stretch: area where an axis shrinks, then linear where an axis grows"
    """The aspect ratio is not kept; see `catsdogs_edge.images.decode.resize`."""


class TrainingInfo(Struct, frozen=True, kw_only=True):
    """What the network learned from, and how well."""

    images: int = field(name="pictures")
    val_images: int = field(name="val_pictures")
    """Number of validation images."""
    val_accuracy: float
    """Share of validation images with the right label in Keras, 0 to 1."""
    split_sha256: str
    """SHA-256 of the run's `split.csv`: which images these were."""


class FamiliarityRule(Struct, frozen=True, kw_only=True):
    """When an image shows one of the classes, and when none of them."""

    threshold: float
    """Least familiarity, 0 to 1, of an image of the classes; below it the answer is "neither"."""
    target_recall: float = field(name="keep")
    """Share of the images of the classes that are to reach the threshold, 0 to 1."""
    method: str
    """How familiarity is computed, in words."""
    outliers: int = field(name="others")
    """Number of images of neither that it was fitted with."""


class Contract(Struct, frozen=True, kw_only=True):
    """Everything needed to use a model file correctly, and to know where it comes from."""

    classes: tuple[str, ...]
    """Names in the order of the output neurons; two or more."""
    image_size: int
    """Edge length of the square input in pixels."""
    precision: Precision
    keras_sha256: str
    """SHA-256 of the Keras file that it was made from, in hexadecimal."""
    training: TrainingInfo
    tools: dict[str, str] = {}
    """Versions of the packages that made the file, by name."""
    temperature: float = 1.0
    """What the logits are divided by before the softmax; 1 until it is fitted."""
    preprocessing: Preprocessing = Preprocessing()
    """How an image file becomes the input tensor."""
    input_name: str = "image"
    """Graph input: uint8, shape (N, image_size, image_size, 3); N is free."""
    logits_name: str = "logits"
    """Graph output: float32, shape (N, len(classes))."""
    probabilities_name: str = "probabilities"
    """Graph output: softmax of the logits, float32, shape (N, len(classes)), each row adds up to 1."""
    familiarity: FamiliarityRule | None = None
    """How to tell that an image shows none of the classes; None where the file cannot."""
    familiarity_name: str = "familiarity"
    """Graph output, if there is a rule for it: float32, shape (N,), 0 to 1."""
    blocks: dict[str, tuple[int, ...]] = {}
    """Channels of the convolutions, by block and in order: `conv1`, the first convolution (files of older exports are
    without it), then `conv2_block1`, which is 64, 64, 256 in a ResNet50. Empty where they are not known."""
    version: str = VERSION

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of the graph's outputs."""
        names = (self.logits_name, self.probabilities_name)
        return names if self.familiarity is None else (*names, self.familiarity_name)

    def to_metadata(self) -> dict[str, str]:
        """Returns the entries to store in the file's `metadata_props`."""
        return {CONTRACT_KEY: self.to_json(), **_ONNX_IMAGE_KEYS}

    def to_json(self, *, indent: int | None = None) -> str:
        """Returns the contract as JSON: on one line, or with `indent` spaces a level."""
        return to_json(self, indent=indent)

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str], origin: str) -> "Contract":
        """Reads the contract back from a file's `metadata_props`.

        Raises `ModelError`, which names `origin`, where there is none, a newer one, or one that cannot be understood.
        """
        if CONTRACT_KEY not in metadata:
            raise ModelError(f"{origin} has no catsdogs contract inside: export it with catsdogs-export")
        try:
            entries = from_json(metadata[CONTRACT_KEY], dict[str, Any])
            version = str(entries["version"])
            if int(version.partition(".")[0]) > int(VERSION.partition(".")[0]):  # it may have other fields
                raise ModelError(
                    f"{origin} has contract version {version}, this catsdogs reads up to {VERSION}: "
                    "upgrade catsdogs, or export the model again"
                )
            if missing := {"preprocessing", "temperature"} - entries.keys():  # defaults are not for files
                raise ValueError(f"without {' and '.join(sorted(missing))}")
            contract = msgspec.convert(entries, cls)
        except ModelError:  # a ValueError, too
            raise
        except (AttributeError, KeyError, OverflowError, RecursionError, TypeError, ValueError) as error:
            raise ModelError(f"{origin} has a damaged contract ({_short(error)}): export it again") from error
        for problem in contract._problems():
            raise ModelError(f"{origin} {_short(problem)}")
        return contract

    def _problems(self) -> Iterator[str]:
        """Yields what this version cannot work with."""
        if self.preprocessing != Preprocessing():
            yield f"asks for preprocessing that is not known here: {self.preprocessing}"
        if not 1 <= self.image_size <= LARGEST_IMAGE:
            yield f"takes images of {self.image_size} pixels, expected 1 to {LARGEST_IMAGE}"
        yield from problems_of_classes(self.classes)
        if self.familiarity is not None and not 0 <= self.familiarity.threshold <= 1:
            yield f"has the familiarity threshold {self.familiarity.threshold}, expected 0 to 1"
        if self.familiarity is not None and has_neither(self.classes):
            yield f"has a class '{NEITHER}' and a familiarity score: which one is meant?"
        if not 0 < self.temperature < math.inf:
            yield f"has the temperature {self.temperature}, expected a positive number"


def problems_of_classes(names: Sequence[str], system: str = sys.platform) -> Iterator[str]:
    """Yields what is wrong with the names of classes: they become names of folders, and columns of rows."""
    if system != "linux" and len({name.casefold() for name in names}) < len(set(names)):
        yield f"names the classes {names}, of which two are the same folder on this system"
    if len(set(names)) < max(2, len(names)):
        yield f"names the classes {names}, expected two or more different ones"
    for name in names:
        if name in {"", ".", ".."} or set(name) & {"/", "\\", "\0"} or (system == "win32" and _is_refused(name)):
            yield f"names a class '{name}', expected one that can be the name of a folder"
        if not name.isprintable():
            yield f"names a class {name!r}, expected letters that can be printed"
        if name in RESERVED:
            yield f"names a class '{name}', which is the name of another column of the rows: give it another name"


def _is_refused(name: str) -> bool:
    """Returns whether Windows takes no folder of that name, or takes it for something else, such as a drive."""
    is_device = re.fullmatch(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", name, re.IGNORECASE) is not None
    return is_device or bool(set(name) & set(':<>"|?*')) or name.endswith((".", " "))


def _short(reason: object) -> str:
    """Returns a reason as text that a terminal can show, however long and strange the values in it are."""
    text = repr(reason) if isinstance(reason, Exception) else str(reason)
    text = "".join(letter if letter.isprintable() else "?" for letter in text)
    return text if len(text) <= _LONGEST_REASON else f"{text[:_LONGEST_REASON]}..."


def has_neither(classes: Iterable[str]) -> bool:
    """Returns whether a class has the name of `NEITHER`, in whatever case: then no other answer can."""
    return any(name.casefold() == NEITHER for name in classes)
