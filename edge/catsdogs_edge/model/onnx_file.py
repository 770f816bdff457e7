"""Reads what an ONNX file says about itself before ONNX Runtime opens it, and refuses what must not be opened.

The file is walked field by field, as Protocol Buffers store them (protobuf.dev, Encoding): no value in it is trusted,
and the package `onnx`, which is larger than the rest of the edge, is not needed.
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from catsdogs_edge.errors import ModelError
from catsdogs_edge.model.integrity import SEAL_KEY, is_intact
from catsdogs_edge.output.files import is_utf8

LARGEST_FILE = 2**31
"""Bytes: more than that no ONNX file without other files can have."""

_LONGEST_TEXT = 2**24  # bytes of all metadata; the images of the self-test are in it
_DEEPEST = 64  # graphs inside of graphs
_METADATA = (14, 2)  # field and wire type of `metadata_props` in a model
_EXTERNAL = {("tensor", 13): 2, ("tensor", 14): 0}  # `external_data` and `data_location`: content of another file
# Which fields hold what, of onnx.proto; only those in which there can be a tensor
_INSIDE = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {},
}


@dataclass(frozen=True, slots=True)
class OnnxFile:
    """What was found in a model file."""

    metadata: Mapping[str, str]
    """The entries of `metadata_props`."""
    intact: bool | None
    """Whether not one byte has changed since the file was sealed; None where it was never sealed."""
    content: bytes = field(default=b"", repr=False)
    """All of it."""


def read_onnx_file(path: Path) -> OnnxFile:
    """Reads what a model file says about itself.

    Raises `ModelError` where there is no such file, it is no ONNX file or a damaged one, or its content is in others.
    """
    if not is_utf8(path):
        raise ModelError(f"{path}: ONNX Runtime takes no name that is not UTF-8: give it another name")
    if not os.path.isfile(path):
        raise ModelError(f"{path}: no such model file")
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise ModelError(f"{path} has {path.stat().st_size} bytes, expected a model of {LARGEST_FILE} at most")
        data = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}") from error
    metadata = read_metadata(data, str(path))
    return OnnxFile(metadata, is_intact(data, metadata) if SEAL_KEY in metadata else None, data)


def read_metadata(data: bytes, origin: str) -> dict[str, str]:
    """Returns the metadata of the content of a model file; raises `ModelError` as `read_onnx_file` does."""
    try:
        return _walk(data)
    except _ExternalError as error:
        raise ModelError(f"{origin} takes content from other files, which is not safe: export it again") from error
    except ValueError as error:  # UnicodeDecodeError is one
        raise ModelError(f"{origin} is not a model, or a damaged one ({error}): export or copy it again") from error


class _ExternalError(Exception):
    """A tensor whose content is in another file."""


def _walk(data: bytes) -> dict[str, str]:
    """Returns the metadata of a model; raises `ValueError` for what is no valid message."""
    metadata: dict[str, str] = {}
    size = 0
    waiting = [("model", 0, len(data), 0)]
    while waiting:
        kind, start, end, depth = waiting.pop()
        if depth > _DEEPEST:
            raise ValueError("too many graphs inside of graphs")
        inside = _INSIDE[kind]
        for number, wire, first, last in _fields(data, start, end):
            if (kind, number) in _EXTERNAL and (wire == 2 or data[first:last] != b"\0"):
                raise _ExternalError
            if number in inside and wire == 2:
                waiting.append((inside[number], first, last, depth + 1))
            elif kind == "model" and (number, wire) == _METADATA:
                size += last - first
                if size > _LONGEST_TEXT:
                    raise ValueError(f"its metadata has more than {_LONGEST_TEXT} bytes")
                entry = {key: data[a:b] for key, _, a, b in _fields(data, first, last)}
                metadata[entry.get(1, b"").decode()] = entry.get(2, b"").decode()
    if not data:
        raise ValueError("it is empty")
    return metadata


def _fields(data: bytes, position: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Yields number, wire type, start and end of each field of a message."""
    while position < end:
        tag, position = _number(data, position, end)
        wire, start = tag & 7, position
        if wire == 0:
            _, position = _number(data, position, end)
        elif wire == 2:
            length, start = _number(data, position, end)
            position = start + length
        elif wire in {1, 5}:
            position += 8 if wire == 1 else 4
        else:
            raise ValueError(f"wire type {wire} at byte {start}")
        if position > end or not tag >> 3:
            raise ValueError(f"a field at byte {start} does not end")
        yield tag >> 3, wire, start, position


def _number(data: bytes, position: int, end: int) -> tuple[int, int]:
    """Reads a number of variable length; returns it and where the next byte is."""
    value = shift = 0
    while position < end and shift < 70:
        byte = data[position]
        position += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, position
        shift += 7
    raise ValueError(f"a number at byte {position} does not end")
