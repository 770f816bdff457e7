"""Data as JSON, and back into types that are checked.

By Python's own parser: msgspec refuses the lone surrogates that stand for bytes of a path that are not UTF-8.
"""

import json
from typing import Any, TypeVar

import msgspec

_Data = TypeVar("_Data")


def to_json(data: Any, *, indent: int | None = None) -> str:
    """Returns structs and data classes as JSON, on one line or with `indent` spaces a level; UTF-8 can hold it."""
    text = json.dumps(msgspec.to_builtins(data), ensure_ascii=False, indent=indent)
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no number of JSON")


def from_json(text: str | bytes, kind: type[_Data]) -> _Data:
    """Reads what `to_json` wrote; raises `ValueError` for what is no JSON, or not of that kind."""
    try:
        return msgspec.convert(json.loads(text, parse_constant=_refuse), kind)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
