"""Damaged model files: one error of ours, or a model that answers; never a traceback, a hang or a crash."""

import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from catsdogs_edge.errors import CatsDogsError, ModelError
from catsdogs_edge.model import onnx_file
from catsdogs_edge.model.classifier import Classifier
from catsdogs_edge.model.integrity import SEAL_KEY
from catsdogs_edge.model.onnx_file import read_onnx_file


def damaged(whole: bytes, seed: int) -> bytes:
    """Changes, removes or adds a few bytes, or cuts the end off."""
    chance = random.Random(seed)  # noqa: S311 - not for secrets
    data = bytearray(whole)
    for _ in range(chance.choice([1, 1, 2, 5, 20])):
        kind, at = chance.random(), chance.randrange(max(len(data), 1))
        if kind < 0.6:
            data[at : at + 1] = bytes([chance.randrange(256)])
        elif kind < 0.75:
            del data[at : at + chance.randrange(1, 30)]
        elif kind < 0.9:
            data[at:at] = chance.randbytes(chance.randrange(1, 20))
        else:
            del data[at:]
    return bytes(data)


def try_all(whole: bytes, folder: Path, seeds: range) -> Iterator[str]:
    """Yields what becomes of damaged copies."""
    path = folder / "damaged.onnx"
    for seed in seeds:
        path.write_bytes(damaged(whole, seed))
        try:
            classifier = Classifier.load(path, threads=1)
            size = min(classifier.contract.image_size, 64)
            classifier.classify([np.zeros((size, size, 3), np.uint8)] * 2)
            yield "answers"
        except CatsDogsError as error:
            yield type(error).__name__


def unsealed(whole: bytes) -> bytes:
    """The same file without a hash of itself, so that damage reaches ONNX Runtime."""
    return whole.replace(SEAL_KEY.encode(), b"catsdogs.sha25X")


def test_a_sealed_file_that_was_damaged_is_refused(tiny: Path, tmp_path: Path) -> None:
    assert set(try_all(tiny.read_bytes(), tmp_path, range(60))) == {"ModelError"}


def test_an_unsealed_file_is_an_error_or_answers(tiny: Path, tmp_path: Path) -> None:
    assert "ModelError" in set(try_all(unsealed(tiny.read_bytes()), tmp_path, range(60)))


@pytest.mark.slow
def test_a_thousand_damaged_files(tiny: Path, tmp_path: Path) -> None:
    found = list(try_all(unsealed(tiny.read_bytes()), tmp_path, range(1000)))
    assert len(found) == 1000
    assert found.count("ModelError") > 300


def number(value: int) -> bytes:
    """A number of variable length."""
    out = b""
    while value > 127:
        out, value = out + bytes([value & 127 | 128]), value >> 7
    return out + bytes([value])


def field(index: int, content: bytes | int) -> bytes:
    """A field of a Protocol Buffers message."""
    if isinstance(content, int):
        return number(index << 3) + number(content)
    return number(index << 3 | 2) + number(len(content)) + content


EXTERNAL = field(13, field(1, b"location") + field(2, b"/etc/passwd"))
"""A tensor's content in another file."""


@pytest.mark.parametrize(
    "model",
    [
        field(7, field(5, EXTERNAL)),
        field(7, field(5, field(14, 1))),
        field(7, field(15, field(1, EXTERNAL))),
        field(7, field(15, field(2, EXTERNAL))),
        field(7, field(1, field(5, field(5, EXTERNAL)))),
        field(7, field(1, field(5, field(10, EXTERNAL)))),
        field(7, field(1, field(5, field(6, field(5, EXTERNAL))))),
        field(7, field(1, field(5, field(22, field(1, EXTERNAL))))),
        field(25, field(7, field(5, field(5, EXTERNAL)))),
        field(20, field(1, field(5, EXTERNAL))),
    ],
)  # fmt: skip
def test_content_in_other_files_is_refused_wherever_it_hides(model: bytes, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(model)
    with pytest.raises(ModelError, match="takes content from other files"):
        read_onnx_file(path)


@pytest.mark.parametrize(
    "data",
    [b"", b"\x0b", b"\x3a\x05ab", b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", b"\x00\x00", b"\x09\x00"],
)
def test_what_is_no_message_is_refused(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(data)
    with pytest.raises(ModelError, match="is not a model, or a damaged one"):
        read_onnx_file(tmp_path / "m.onnx")


def test_endless_graphs_in_graphs_are_refused(tmp_path: Path) -> None:
    graph = b""
    for _ in range(100):
        graph = field(1, field(5, field(6, graph)))
    (tmp_path / "m.onnx").write_bytes(field(7, graph))
    with pytest.raises(ModelError, match="too many graphs"):
        read_onnx_file(tmp_path / "m.onnx")


def test_metadata_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_file, "_LONGEST_TEXT", 100)
    entry = field(14, field(1, b"key") + field(2, b"x" * 60))
    (tmp_path / "m.onnx").write_bytes(entry)
    assert read_onnx_file(tmp_path / "m.onnx").metadata == {"key": "x" * 60}
    (tmp_path / "m.onnx").write_bytes(entry * 2)
    with pytest.raises(ModelError, match="more than 100 bytes"):
        read_onnx_file(tmp_path / "m.onnx")
