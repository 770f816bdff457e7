"""Finds out whether a model file is still what was published, byte for byte.

A file cannot hold its own hash, so it holds the SHA-256 of itself with zeros in the hash's place. Any
language can check that without parsing the file: read the entry `catsdogs.sha256` of `metadata_props`,
replace those 64 characters by 64 zeros in the bytes, hash, compare.
"""

import hashlib
import re
from collections.abc import Mapping

from catsdogs_edge.errors import ModelError

SEAL_KEY = "catsdogs.sha256"
"""Name of the entry in `metadata_props`."""

PLACEHOLDER = "0" * 64
"""Stands in the hash's place while the hash is taken."""


def seal(data: bytes) -> bytes:
    """Puts the hash in the one place of `PLACEHOLDER` in a file's bytes; raises `ModelError` where there is none."""
    if data.count(PLACEHOLDER.encode()) != 1:
        raise ModelError(f"the model has no single place for its hash: {SEAL_KEY} must hold 64 zeros")
    return data.replace(PLACEHOLDER.encode(), hashlib.sha256(data).hexdigest().encode())


def is_intact(data: bytes, metadata: Mapping[str, str]) -> bool:
    """Returns whether not one of a file's bytes has changed since `seal`; False if it holds no hash of itself."""
    expected = metadata.get(SEAL_KEY, "")
    if not re.fullmatch("[0-9a-f]{64}", expected):
        return False
    digest, view, start = hashlib.sha256(), memoryview(data), 0
    while (found := data.find(expected.encode(), start)) >= 0:  # as `bytes.replace`, without a copy of the model
        digest.update(view[start:found])
        digest.update(PLACEHOLDER.encode())
        start = found + len(expected)
    digest.update(view[start:])
    return digest.hexdigest() == expected
