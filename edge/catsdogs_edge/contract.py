"""What a model file says about itself, so that nobody has to guess.

The contract is JSON under one key of the ONNX file's `metadata_props`. Any ONNX Runtime, in any
language, can read it; catsdogs refuses a file that has none.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum

from catsdogs_edge.errors import ModelError

KEY = "catsdogs.contract"
"""Name of the entry in `metadata_props`."""

VERSION = 1
"""Raised when an older reader would misunderstand a newer file."""


class Precision(StrEnum):
    """Number format of the weights and activations."""

    FP32 = "fp32"
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
class Contract:
    """Everything needed to use a model file correctly."""

    classes: tuple[str, ...]
    """Names in the order of the output neurons; two or more."""
    image_size: int
    """Edge length of the square input in pixels."""
    precision: Precision
    """What the file was converted to."""
    preprocessing: Preprocessing = Preprocessing()
    """How a file becomes the input tensor."""
    input_name: str = "image"
    """Graph input: uint8, shape (N, image_size, image_size, 3); N is free."""
    logits_name: str = "logits"
    """Graph output: float32, shape (N, len(classes))."""
    probabilities_name: str = "probabilities"
    """Graph output: softmax of the logits, float32, shape (N, len(classes)), each row adds up to 1."""
    version: int = VERSION
    """Version of the contract itself."""

    def to_metadata(self) -> dict[str, str]:
        """Gives the entries to store in the file's `metadata_props`."""
        return {KEY: json.dumps(asdict(self))}

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
        damage = (AttributeError, KeyError, TypeError, ValueError)
        try:
            fields = json.loads(metadata[KEY])
            version = int(fields["version"])
        except damage as error:
            raise ModelError(f"{origin} has a damaged contract ({error!r}): export it again") from error
        if version > VERSION:  # before anything else is read: a newer contract may have other fields
            raise ModelError(
                f"{origin} has contract version {version}, this catsdogs reads up to {VERSION}: "
                "upgrade catsdogs, or export the model again",
            )
        try:
            contract = cls(
                **fields
                | {
                    "classes": tuple(str(name) for name in fields["classes"]),
                    "image_size": int(fields["image_size"]),
                    "precision": Precision(fields["precision"]),
                    "preprocessing": Preprocessing(**fields["preprocessing"]),
                },
            )
        except damage as error:
            raise ModelError(f"{origin} has a damaged contract ({error!r}): export it again") from error
        if contract.preprocessing != Preprocessing():
            raise ModelError(f"{origin} asks for preprocessing that is not known here: {contract.preprocessing}")
        if len(contract.classes) < 2:
            raise ModelError(f"{origin} names {len(contract.classes)} classes, expected two or more")
        return contract
