"""A folder of collected images, each with a row beside it: what was collected, and why."""

import contextlib
import json
import logging
from base64 import b64decode, b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from catsdogs_edge.output.files import write_errors
from catsdogs_edge.output.json_text import from_json

_log = logging.getLogger(__name__)

ENDING = ".jpg"

_SEEN = ".seen"
_MOST_SEEN = 2000


@dataclass(frozen=True, slots=True)
class Collected:
    """An image that a camera has collected."""

    path: Path
    row: dict[str, Any]
    """What the model said of it (`stream.frame_result.to_row`), with `reason` and `thumbnail`, in Base64."""

    @property
    def time(self) -> float:
        """When it was captured: seconds since 1970 (UTC)."""
        return datetime.fromisoformat(str(self.row["time"])).timestamp()

    @property
    def thumbnail(self) -> bytes:
        """What `images.similarity` compares; empty where the row has none."""
        try:
            return b64decode(self.row.get("thumbnail") or "")
        except (TypeError, ValueError):
            return b""

    @property
    def place(self) -> tuple[str, str]:
        """The source and the region that it shows; empty where there is one."""
        return str(self.row.get("source") or ""), str(self.row.get("region") or "")


def find_collected(folder: Path) -> Iterator[Collected]:
    """Yields the images of a folder that have a row, the oldest first; says which rows cannot be read."""
    for path in sorted(folder.glob("*.json")):
        image = path.with_suffix(ENDING)
        if path.name.startswith(".") or not image.is_file():
            continue
        try:
            row = from_json(path.read_bytes(), dict[str, Any])
            item = Collected(image, row)
            _ = item.time, json.dumps(row, allow_nan=False)  # what a page gets of it
        except (OSError, KeyError, TypeError, ValueError) as error:
            _log.warning("%s is no row of a collected image, and is left out: %s", path, error)
            continue
        yield item


def remember_seen(folder: Path, thumbnail: bytes) -> None:
    """Remembers an image that goes, so that nothing like it is collected again; raises `OutputError`."""
    if thumbnail:
        with write_errors(folder), (folder / _SEEN).open("ab") as stream:
            stream.write(b64encode(thumbnail) + b"\n")


def read_seen(folder: Path) -> Iterator[bytes]:
    """Yields the thumbnails of images that were in a folder, the last of them, and of those that are."""
    try:
        lines = (folder / _SEEN).read_bytes().splitlines()[-_MOST_SEEN:]
    except OSError:
        lines = []
    for line in lines:
        with contextlib.suppress(ValueError):
            yield b64decode(line)
    yield from (item.thumbnail for item in find_collected(folder))
