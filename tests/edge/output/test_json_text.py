import json
from dataclasses import dataclass

import msgspec
import pytest

from catsdogs_edge.output.json_text import from_json, to_json


@dataclass(frozen=True)
class Place:
    path: str
    counts: dict[str, list[int]]


NOT_UTF8 = Place("caf\udce9/Кот.jpg", {"row\udcff": [1, 2]})
"""A path with bytes that are not UTF-8, as Python reads it."""


@pytest.mark.parametrize("indent", [None, 2])
def test_a_path_that_is_not_utf8_comes_back(indent: int | None) -> None:
    text = to_json(NOT_UTF8, indent=indent)
    assert "Кот" in text
    assert from_json(text.encode(), Place) == NOT_UTF8
    assert from_json(json.dumps({"path": "caf\udce9", "counts": {}}), Place) == Place("caf\udce9", {})


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[",
        b'{"path": "caf\xe9", "counts": {}}',
        b'{"path": 1, "counts": {}}',
        b"{}",
        b"[" * 100_000,
    ],
)
def test_what_does_not_fit_is_a_value_error(text: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        from_json(text, Place)


def test_defaults_are_left_out_where_a_struct_says_so() -> None:
    class Entry(msgspec.Struct, omit_defaults=True):
        file: bytes
        score: float | None = None

    assert to_json(Entry(b"\xff\x00")) == '{"file": "/wA="}'
    assert from_json('{"file": "/wA="}', Entry) == Entry(b"\xff\x00")
