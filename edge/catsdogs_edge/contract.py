"""What a model file says about itself, so that nobody has to guess.

The contract is JSON under one key of the ONNX file's `metadata_props`. Any ONNX Runtime, in any
language, can read it; catsdogs refuses a file that has none.
"""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from typing import Any

from catsdogs_edge.errors import ModelError

KEY = "catsdogs.contract"
"""Name of the entry in `metadata_props`."""

NEITHER = "neither"
"""The label of a picture that shows none of the classes."""

VERSION = "1.1"
"""Major and minor: a reader refuses a newer major version, and passes over fields of a newer minor one."""

_ONNX_IMAGE_KEYS = {
    "Image.BitmapPixelFormat": "Rgb8",
    "Image.ColorSpaceGamma": "SRGB",
    "Image.NominalPixelRange": "NominalRange_0_255",
}
"""The same in ONNX's own words (onnx/docs/MetadataProps.md), for tools that know those."""

_DAMAGE = (AttributeError, KeyError, TypeError, ValueError)


class Precision(StrEnum):
    """Number format of the weights and activations."""

    FP32 = "fp32"
    FP16 = "fp16"
    INT8 = "int8"


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """How pixels reach the model; these are the only values that this version knows."""

    colour_order: str = "RGB"
    """Order of the last axis."""
    layout: str = "NHWC"
    """Order of the axes."""
    dtype: str = "uint8"
    """Pixels go in as decoded, 0 to 255: mean subtraction is part of the graph."""
    exif: str = "applied"
    """The picture is turned upright before it is resized."""
    resize: str = "stretch: area where an axis shrinks, then linear where an axis grows"
    """The aspect ratio is not kept; see `catsdogs_edge.image.resize`."""


@dataclass(frozen=True, slots=True)
class Training:
    """What the network learned from, and how well."""

    pictures: int
    """Number of training pictures."""
    val_pictures: int
    """Number of pictures it was judged by while it was trained."""
    val_accuracy: float
    """Share of those with the right label in Keras, 0 to 1."""
    split_sha256: str
    """Of the run's `split.csv`, in hexadecimal: which pictures these were."""


@dataclass(frozen=True, slots=True)
class Familiarity:
    """When a picture shows one of the classes, and when none of them."""

    threshold: float
    """Least familiarity, 0 to 1, of a picture that shows one; below it the answer is "neither"."""
    keep: float
    """Promise: share of the pictures that show a class that are at or above the threshold, 0 to 1."""
    method: str
    """How familiarity is computed, in words."""
    others: int
    """Pictures of neither that it was fitted with; 0: with none."""


@dataclass(frozen=True, slots=True)
class Contract:
    """Everything needed to use a model file correctly, and to know where it comes from."""

    classes: tuple[str, ...]
    """Names in the order of the output neurons; two or more."""
    image_size: int
    """Edge length of the square input in pixels."""
    precision: Precision
    """What the file was converted to."""
    keras_sha256: str
    """Of the Keras file that it was made from, in hexadecimal."""
    training: Training
    """What that was trained on."""
    tools: Mapping[str, str] = field(default_factory=dict)
    """Versions of the packages that made the file, by name."""
    temperature: float = 1.0
    """What the logits are divided by before the softmax; 1 until it is fitted."""
    preprocessing: Preprocessing = Preprocessing()
    """How a picture file becomes the input tensor."""
    input_name: str = "image"
    """Graph input: uint8, shape (N, image_size, image_size, 3); N is free."""
    logits_name: str = "logits"
    """Graph output: float32, shape (N, len(classes))."""
    probabilities_name: str = "probabilities"
    """Graph output: softmax of the logits, float32, shape (N, len(classes)), each row adds up to 1."""
    familiarity: Familiarity | None = None
    """How to tell that a picture shows none of the classes; None where the file cannot."""
    familiarity_name: str = "familiarity"
    """Graph output, if there is a rule for it: float32, shape (N,), 0 to 1."""
    version: str = VERSION
    """Version of the contract itself."""

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the graph's outputs."""
        names = (self.logits_name, self.probabilities_name)
        return names if self.familiarity is None else (*names, self.familiarity_name)

    def to_metadata(self) -> dict[str, str]:
        """Gives the entries to store in the file's `metadata_props`."""
        return {KEY: self.to_json(), **_ONNX_IMAGE_KEYS}

    def to_json(self, *, indent: int | None = None) -> str:
        """Gives the contract as JSON."""
        return json.dumps(asdict(self), ensure_ascii=False, indent=indent)

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str], origin: str) -> "Contract":
        """Reads the contract back.

        Args:
            metadata: The file's `metadata_props`.
            origin: The file's name, for the error message.

        Raises:
            ModelError: There is no contract, a newer one, or one that cannot be understood.
        """
        if KEY not in metadata:
            raise ModelError(f"{origin} has no catsdogs contract inside: export it with catsdogs-export")
        try:
            entries = json.loads(metadata[KEY])
            version = str(entries["version"])
            major = int(version.partition(".")[0])
        except _DAMAGE as error:
            raise ModelError(f"{origin} has a damaged contract ({error!r}): export it again") from error
        if major > int(VERSION.partition(".")[0]):  # before the rest: a newer one may have other fields
            raise ModelError(
                f"{origin} has contract version {version}, this catsdogs reads up to {VERSION}: "
                "upgrade catsdogs, or export the model again",
            )
        try:
            contract = _parse(entries)
        except _DAMAGE as error:
            raise ModelError(f"{origin} has a damaged contract ({error!r}): export it again") from error
        if contract.preprocessing != Preprocessing():
            raise ModelError(f"{origin} asks for preprocessing that is not known here: {contract.preprocessing}")
        if len(set(contract.classes)) < max(2, len(contract.classes)):
            raise ModelError(f"{origin} names the classes {contract.classes}, expected two or more different ones")
        for name in contract.classes:
            if name in {"", ".", ".."} or set(name) & {"/", "\\", "\0"}:  # they become names of files and folders
                raise ModelError(f"{origin} names a class '{name}', expected one that can be the name of a folder")
        rule = contract.familiarity
        if rule is not None and not (0 <= rule.threshold <= 1):
            raise ModelError(f"{origin} has the familiarity threshold {rule.threshold}, expected 0 to 1")
        if rule is not None and has_neither(contract.classes):
            raise ModelError(f"{origin} has a class '{NEITHER}' and a familiarity score: which one is meant?")
        if not 0 < contract.temperature < math.inf:
            raise ModelError(f"{origin} has the temperature {contract.temperature}, expected a positive number")
        return contract


def has_neither(classes: Iterable[str]) -> bool:
    """Tells whether a class has the name of `NEITHER`, in whatever case: then no other answer can."""
    return any(name.casefold() == NEITHER for name in classes)


def _parse(entries: Mapping[str, Any]) -> Contract:
    preprocessing = Preprocessing(**_known(Preprocessing, entries["preprocessing"]))
    training = Training(**_known(Training, entries["training"]))
    rule = entries.get("familiarity")
    return Contract(
        **_known(Contract, entries)
        | {
            "classes": tuple(str(name) for name in entries["classes"]),
            "image_size": int(entries["image_size"]),
            "precision": Precision(entries["precision"]),
            "temperature": float(entries["temperature"]),
            "preprocessing": preprocessing,
            "training": training,
            "familiarity": None
            if rule is None
            else Familiarity(**_known(Familiarity, rule) | {"threshold": float(rule["threshold"])}),
        },
    )


def _known(kind: type, entries: Mapping[str, Any]) -> dict[str, Any]:
    """Leaves out what a newer minor version added."""
    names = {known.name for known in fields(kind)}
    return {name: value for name, value in entries.items() if name in names}
