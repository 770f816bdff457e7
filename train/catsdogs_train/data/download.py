"""Public sets of images that need no account, fetched once into the user's cache."""

import logging
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from filelock import FileLock, Timeout

from catsdogs_edge.errors import DataError, OutputError
from catsdogs_edge.output.files import make_folder, sha256, write_errors
from catsdogs_train.data.cache import cache_folder
from catsdogs_train.settings import Dataset

_log = logging.getLogger(__name__)

_CHUNK = 2**20
_SILENCE = 30.0  # seconds without a byte until the connection counts as broken
_TRIES = 5
_BETWEEN_LINES = 10.0  # seconds between two words on how far it is


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """Where a set lies, and how it is known to be the right one."""

    url: str
    sha256: str
    megabytes: int
    """To download; unpacked it takes as much again."""
    terms: str
    """What its publisher says about its use."""

    @property
    def name(self) -> str:
        """The file's name."""
        return self.url.rpartition("/")[2]


ARCHIVES = {
    Dataset.CATS_VS_DOGS: Archive(
        url="https://download.microsoft.com/download/3/E/1/3E1C3F21-ECDB-4869-8368-6DEBA77B919F/"
        "kagglecatsanddogs_5340.zip",
        sha256="b7974bd00a84a99921f36ee4403f089853777b5ae8d151c76a86e64900334af9",
        megabytes=825,
        terms="https://www.microsoft.com/en-us/download/details.aspx?id=54765",
    )
}


def download(dataset: Dataset, into: Path | None = None) -> Path:
    """Returns the archive of a set, from the cache or its publisher; a download that was broken off goes on.

    Raises:
        DataError: There is no network, or no room, or what came is another file.
        OutputError: The cache cannot be written.
    """
    archive, folder = ARCHIVES[dataset], into or cache_folder()
    path = folder / archive.name
    if _is_whole(archive, path):
        return path
    make_folder(folder)
    with _alone(archive.name):
        if not _is_whole(archive, path):  # else another process was there first
            _download(dataset, archive, path)
    return path


def _is_whole(archive: Archive, path: Path) -> bool:
    return path.is_file() and sha256(path) == archive.sha256


def _download(dataset: Dataset, archive: Archive, path: Path) -> None:
    folder = path.parent
    part = path.with_name(f"{path.name}.part")
    free = shutil.disk_usage(folder).free + (part.stat().st_size if part.exists() else 0) >> 20
    if free < 2 * archive.megabytes:
        raise DataError(f"{dataset} takes {2 * archive.megabytes} MB, {folder} has room for {free} MB: free some first")
    _log.info(
        "%s: %d MB to download, as much again unpacked, both into %s; terms: %s",
        dataset, archive.megabytes, folder, archive.terms,
    )  # fmt: skip
    _fetch(archive, part)
    if sha256(part) != archive.sha256:
        part.unlink()
        raise DataError(
            f"{archive.url} is another file than it was (its SHA-256 differs): try again, or give your own zip"
        )
    with write_errors(path):
        part.replace(path)


@contextmanager
def _alone(name: str) -> Iterator[None]:
    """Waits until no other process of this user downloads the same file."""
    locks = cache_folder() / "locks"
    make_folder(locks)
    lock = FileLock(locks / f"{name}.lock")
    with write_errors(locks):
        try:
            lock.acquire(timeout=0)
        except Timeout:
            _log.info("another process downloads %s: waiting for it", name)
            lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _fetch(archive: Archive, part: Path) -> None:
    """Fetches what is missing of a file; tries again where the connection breaks, as long as something came."""
    failures = 0
    while True:
        before = part.stat().st_size if part.exists() else 0
        try:
            if _fetch_rest(archive, part, before):
                return
            reason = "the connection was broken"
        except HTTPError as error:
            if error.code == 416:  # nothing is missing
                return
            reason = f"the server answers {error.code} ({error.reason})"
        except OutputError:  # an OSError, too
            raise
        except (URLError, HTTPException, OSError) as error:
            cause = getattr(error, "reason", error)
            reason = str(getattr(cause, "strerror", None) or cause)
        failures = 0 if part.exists() and part.stat().st_size > before else failures + 1
        if failures == _TRIES or (failures and not before):
            raise DataError(
                f"{archive.url} cannot be fetched: {reason}; where there is a network, fetch it, and give the file: "
                f"catsdogs-train {archive.name}"
            )
        time.sleep(min(2**failures, 10) / 2)


def _fetch_rest(archive: Archive, part: Path, before: int) -> bool:
    """Adds to a file what comes; returns whether that was all."""
    request = Request(archive.url, headers={"Range": f"bytes={before}-"} if before else {})  # noqa: S310 - ours, see ARCHIVES
    with urlopen(request, timeout=_SILENCE) as answer:  # noqa: S310
        is_rest = answer.status == 206
        expected = (before if is_rest else 0) + int(answer.headers.get("Content-Length", "0"))
        with write_errors(part), part.open("ab" if is_rest else "wb") as stream:
            next_line = time.monotonic() + _BETWEEN_LINES
            while chunk := _read(answer):
                stream.write(chunk)
                if time.monotonic() > next_line:
                    _log.info("%d of %d MB", stream.tell() >> 20, expected >> 20)
                    next_line += _BETWEEN_LINES
            return stream.tell() >= expected


def _read(answer: HTTPResponse) -> bytes:
    try:
        return answer.read1(_CHUNK)
    except OSError:  # TLS has errors of its own
        return b""  # what came is kept, and the rest is asked for again
