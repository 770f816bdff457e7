"""Where in an image a model's answers come from: the graph that computes it, and what it gives.

The graph is in the metadata of a model file, as a serialized `GraphProto` with nodes, constants and outputs. It reads
values of the file's own graph. Protocol Buffers merge what is appended to a message: a file with those bytes behind it,
as a further `graph`, is a model that has these outputs, too. Without, nothing of them costs anything.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from catsdogs_edge.errors import ModelError
from catsdogs_edge.model.onnx_file import read_metadata, read_onnx_file
from catsdogs_edge.output.json_text import from_json, to_json

MAPS_KEY = "catsdogs.maps"
"""Name of the entry in `metadata_props`: `{"graph": BASE64}`."""

CLASS_MAPS = "class_maps"
"""Graph output: float32, shape (N, C, H, W), for each class; the mean over H and W is the logit."""

FAMILIARITY_MAP = "familiarity_map"
"""Graph output, if there is a familiarity score: float32, shape (N, H, W) of an earlier feature map, in a
ResNet twice as many; the sigmoid of the mean is the familiarity."""

Map: TypeAlias = NDArray[np.float32]
"""What each part of an image says for an answer, shape (H, W), from the upper left corner; below 0: against it."""

_GRAPH_FIELD = b"\x3a"  # of a ModelProto: field 7, of a length that follows


class _Entry(msgspec.Struct):
    graph: bytes


@dataclass(frozen=True, slots=True)
class ImageMaps:
    """What each part of one image says."""

    classes: Mapping[str, Map]
    """By class, in the order of the contract; the mean of each is the logit."""
    familiarity: Map | None
    """That it shows one of the classes: the sigmoid of its mean is the familiarity; None without that score."""

    def evidence(self, label: str) -> Map:
        """Returns what each part says for a label: its class against the mean of the others, or for "neither"."""
        if label not in self.classes:
            if self.familiarity is None:
                raise ValueError(f"no map for '{label}', expected one of {', '.join(self.classes)}")
            return -self.familiarity
        return class_evidence(np.stack([*self.classes.values()]), list(self.classes).index(label), axis=0)


def class_evidence(maps: NDArray[np.float32], index: int, axis: int) -> NDArray[np.float32]:
    """Returns, at each position, the value of one class minus the mean of the others; `axis` is that of the classes."""
    others = np.delete(maps, index, axis).mean(axis)
    return np.asarray(np.take(maps, index, axis) - others, np.float32)


@dataclass(frozen=True, slots=True)
class BatchMaps:
    """What a model gives for a batch of N images, float32."""

    classes: NDArray[np.float32]
    """Shape (N, C, H, W)."""
    familiarity: NDArray[np.float32] | None
    """Shape (N, H, W), in a ResNet twice as many as of the others."""

    def of_image(self, index: int, names: tuple[str, ...]) -> ImageMaps:
        """Returns those of one image, by the names of the classes."""
        familiarity = None if self.familiarity is None else self.familiarity[index]
        return ImageMaps(dict(zip(names, self.classes[index], strict=True)), familiarity)


def to_metadata(graph: bytes) -> dict[str, str]:
    """Returns the entry that holds a graph."""
    return {MAPS_KEY: to_json(_Entry(graph))}


def with_maps(path: Path, metadata: Mapping[str, str]) -> bytes:
    """Returns the content of a model file, with what computes its maps behind it.

    Raises `ModelError` where it has none, or damaged ones, or is another file by now than the one with this metadata.
    """
    if MAPS_KEY not in metadata:
        raise ModelError(f"{path} cannot say where its answers come from: export it again")
    try:
        graph = from_json(metadata[MAPS_KEY], _Entry).graph
    except ValueError as error:
        raise ModelError(f"{path} has damaged maps ({error}): export it again") from error
    file = read_onnx_file(path)
    if file.metadata != metadata:  # its hash is in there
        raise ModelError(f"{path} has been replaced since it was opened")
    content = file.content + _GRAPH_FIELD + _varint(len(graph)) + graph
    read_metadata(content, str(path))  # the graph must not take content from other files either
    return content


def _varint(number: int) -> bytes:
    """Writes a number of variable length, seven bits a byte, the lowest first."""
    parts = []
    while number > 127:
        parts.append(number & 127 | 128)
        number >>= 7
    return bytes([*parts, number])
