"""Images and results wherever they are: on a disk, or behind a URI such as `s3://bucket/folder`.

URIs go through Arrow's file systems (https://arrow.apache.org/docs/python/filesystems.html): S3, Google Cloud Storage,
Azure, HDFS. Credentials come from where their own tools keep them: environment, profile, role of the machine.
"""

import contextlib
import fnmatch
import os
import re
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from urllib.parse import quote, unquote, unquote_to_bytes, urlsplit
from urllib.request import url2pathname

import pyarrow as pa
from pyarrow import fs

from catsdogs_edge.errors import DataError, ImageError, OutputError
from catsdogs_edge.images.decode import LARGEST_FILE, read_bytes
from catsdogs_edge.images.discovery import looks_like_image
from catsdogs_edge.output.files import atomic_file, write_errors

_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")  # two letters at least: C:// is a drive
_TROUBLE = (OSError, ValueError, pa.ArrowException)  # wrong URIs and missing drivers, too
_WHOLE_OBJECTS = frozenset({"abfs", "gcs", "s3"})  # stores where an object appears once it is complete
_HALF_WRITTEN = re.compile(r"\.catsdogs-[0-9a-f]{16}(-.+)?")  # names that `atomic_file` and `Store.writing` make


def is_uri(name: str) -> bool:
    """Returns whether a name is a URI, not a path."""
    return _URI.match(name) is not None


def read_image(name: str, base: str) -> bytes:
    """Reads the bytes of an image at a URI, or at a path from `base`; raises `ImageError` where it cannot."""
    if not name:
        raise ImageError("no image is named here")
    try:
        if _is_local(name):
            return read_bytes(_local(name, base))
        system, path = _resolve(name)
        with system.open_input_stream(path) as stream:
            data: bytes = stream.read(LARGEST_FILE + 1)
    except ImageError:
        raise
    except FileNotFoundError as error:
        raise ImageError("no such file") from error
    except _TROUBLE as error:
        raise ImageError(f"cannot be read: {_one_line(error)}") from error
    if len(data) > LARGEST_FILE:
        raise ImageError(f"more than {LARGEST_FILE >> 20} MB, expected an image of that size at most")
    return data


def find_objects(uri: str) -> Iterator[str]:
    """Finds images in a folder behind a URI, or what matches a pattern there, in which `*` matches `/`, too; sorted.

    All names are listed first: for millions, a manifest is the better way. Raises `DataError` where it cannot be
    listed.
    """
    try:
        parts = urlsplit(uri)
        is_pattern = bool(set(parts.path) & set("*["))  # "?" begins the query
        folder = re.split(r"[*\[]", parts.path, maxsplit=1)[0].rpartition("/")[0] if is_pattern else parts.path
        system, root = _resolve(parts._replace(path=folder).geturl())
        if system.get_file_info(root).type == fs.FileType.File:
            yield uri
            return
        infos = system.get_file_info(fs.FileSelector(root, recursive=True))
    except _TROUBLE as error:
        raise DataError(f"{uri} cannot be listed: {_one_line(error)}") from error
    wanted = unquote(parts.path)
    for inside in sorted(info.path.removeprefix(root) for info in infos if info.type == fs.FileType.File):
        path = f"{unquote(folder).rstrip('/')}/{inside.lstrip('/')}"
        names = inside.strip("/").split("/")
        is_shown = looks_like_image(names[-1]) and not any(name.startswith(".") for name in names)
        if fnmatch.fnmatchcase(path, wanted) if is_pattern else is_shown:
            yield parts._replace(path=quote(path)).geturl()


def open_file(name: str) -> pa.NativeFile:
    """Opens a path or a URI for reading at any place in it; raises `DataError` where it cannot be read."""
    try:
        if _is_local(name):
            return pa.OSFile(_local(name))
        system, path = _resolve(name)
        return system.open_input_file(path)
    except _TROUBLE as error:
        raise DataError(f"{name} cannot be read: {_one_line(error)}") from error


class Store:
    """A folder for results, by its path or URI, which need not exist; files in it appear whole or not at all."""

    def __init__(self, location: str) -> None:
        self.location = os.path.abspath(_local(location)) if _is_local(location) else location  # noqa: PTH100 - may be a URI

    def locate(self, name: str) -> str:
        """Returns the path or URI of a file in it."""
        if not is_uri(self.location):
            return os.path.join(self.location, name)  # noqa: PTH118 - likewise
        parts = urlsplit(self.location)
        return parts._replace(path=f"{parts.path.rstrip('/')}/{name}").geturl()

    def names(self) -> set[str]:
        """Returns the names of its files; none where it does not exist. Raises `OutputError` where it is a file."""
        with self._errors():
            return {info.base_name for info in self._list()[1]}

    def remove_half_written(self) -> None:
        """Removes what writers left that were killed, if it can be removed. No writer must be left."""
        with self._errors():
            system, infos = self._list()
        for info in infos:
            if _HALF_WRITTEN.fullmatch(info.base_name):
                with contextlib.suppress(OSError):  # gone, or not ours: the results are there
                    remove = system.delete_dir if info.type == fs.FileType.Directory else system.delete_file
                    remove(info.path)

    def _list(self) -> tuple[fs.FileSystem, list[fs.FileInfo]]:
        system, root = _resolve(self.location) if is_uri(self.location) else (fs.LocalFileSystem(), self.location)
        if system.get_file_info(root).type == fs.FileType.File:
            raise OutputError(f"{self.location} is a file, expected a folder")
        return system, system.get_file_info(fs.FileSelector(root, allow_not_found=True))

    @contextmanager
    def writing(self, name: str) -> Iterator[Path]:
        """Yields a temporary path; what is written there is in the folder, under its name, when the block ends well."""
        if not is_uri(self.location):
            with atomic_file(Path(self.location, name)) as path:
                yield path
            return
        with tempfile.TemporaryDirectory(prefix="catsdogs-") as folder:
            path = Path(folder, name)
            with write_errors(Path(folder)):
                yield path
            with self._errors():
                system, target = _resolve(self.locate(name))
                is_whole = system.type_name in _WHOLE_OBJECTS
                before, _, last = target.rpartition("/")
                stage = target if is_whole else f"{before}/.catsdogs-{secrets.token_hex(8)}-{last}"
                if not is_whole:
                    system.create_dir(before, recursive=True)
                with system.open_output_stream(stage) as stream, path.open("rb") as source:
                    while block := source.read(1 << 20):
                        stream.write(block)
                if not is_whole:
                    system.move(stage, target)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except OutputError:
            raise
        except _TROUBLE as error:
            raise OutputError(f"{self.location} cannot be used: {_one_line(error)}") from error


def _is_local(name: str) -> bool:
    """Returns whether a path or URI names a file of this machine."""
    return not is_uri(name) or name.lower().startswith("file://")


def _local(name: str, base: str = "") -> str:
    """Returns the path of a file on this machine; it need not be UTF-8."""
    if not is_uri(name):
        return os.path.join(base, name)  # noqa: PTH118 - a name, not a path
    path = urlsplit(name).path
    return url2pathname(path) if os.name == "nt" else os.fsdecode(unquote_to_bytes(path))


def _resolve(uri: str) -> tuple[fs.FileSystem, str]:
    system, prefix = _file_system(urlsplit(uri)._replace(path="/", fragment="").geturl())
    return system, prefix.rstrip("/") + unquote(urlsplit(uri).path)


@lru_cache
def _file_system(root: str) -> tuple[fs.FileSystem, str]:
    """Opens a bucket, once in each process: it may ask the network where that is."""
    return tuple(fs.FileSystem.from_uri(root))


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())
