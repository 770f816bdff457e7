"""Cuts a job of any size into shards, each of them done as a whole by one worker, and remembers the cut to resume it.

A manifest is a Parquet file, or several, with the path or URI of an image in each row. Its metadata tells how many
rows there are, so cutting it reads no names. What comes otherwise, folders and lists, is written into one first.
"""

import csv
import hashlib
import io
import json
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.parquet as pq

from catsdogs_edge.cluster.storage import Store, find_objects, is_uri, open_file
from catsdogs_edge.errors import DataError, OutputError
from catsdogs_edge.images.discovery import expand, find_images, is_list, read_list
from catsdogs_edge.output.json_text import from_json, to_json

PLAN, OWN_MANIFEST = "plan.json", ".catsdogs-manifest.parquet"
"""Files in the folder of results: the cut, and the names where the user gave no Parquet manifest."""

_VERSION = 1  # of the plan
_COLUMNS = ("uri", "path")  # that may hold the names, if there are several columns
_ROWS_AT_ONCE = 1 << 16  # names in memory while they are listed
# Images in a shard, and shards for each worker: so all end at about the same time
_SMALLEST, _LARGEST, _FOR_EACH_WORKER = 64, 10_000, 32


@dataclass(frozen=True, slots=True)
class Shard:
    """Some rows of a manifest: the unit that is done as a whole, and once."""

    number: int
    """The number of the shard, from 0 through all manifests: the order of the images."""
    file: str
    group: int
    """The row group of the file that holds the shard."""
    first: int
    """The first row in that group."""
    count: int
    """The number of rows, at least 1."""

    def part(self, ending: str) -> str:
        """Names the file of its results."""
        return f"part-{self.number:07}.{ending}"


@dataclass(frozen=True, slots=True)
class Listing:
    """The images of a job."""

    about: dict[str, Any]
    """What else decides about the results; JSON."""
    base: str
    """The folder that relative paths start at: the current one when the job was begun."""
    rows: dict[str, list[int]]
    """For each manifest, the rows in each of its row groups."""
    footers: dict[str, str]
    """For each manifest, the SHA-256 of its metadata, which hold sizes, offsets and extremes of the content."""
    shard_size: int
    """Images in a shard; 0 until the job is begun."""

    @property
    def count(self) -> int:
        """The number of images."""
        return sum(map(sum, self.rows.values()))

    def cut(self) -> list[Shard]:
        """Returns the shards of a job that was begun."""
        spans = [
            (file, group, first, min(self.shard_size, count - first))
            for file, groups in self.rows.items()
            for group, count in enumerate(groups)
            for first in range(0, count, self.shard_size)
        ]
        return [Shard(number, *span) for number, span in enumerate(spans)]


def list_images(store: Store, sources: Sequence[str], about: dict[str, Any], *, null: bool, resume: bool) -> Listing:
    """Finds the images of a job, or takes up what was found when it was begun; what was found is kept in the store.

    Sources are those of `find_images`, the same behind URIs, and manifests: names that end in `.parquet` or `.csv`.
    `about` is what else decides about the results, such as the model; JSON. Raises `DataError` where a source cannot be
    read, `OutputError` where the store holds something else, a job that is not resumed, or another one.
    """
    about = {"version": _VERSION, "sources": list(sources), **about}
    found = store.names()
    if PLAN in found:
        if not resume:
            raise OutputError(f"{store.location} holds results already: go on with --resume, or choose another folder")
        return _take_up(store, about)
    if others := sorted(name for name in found if not name.startswith(".catsdogs-")):
        raise OutputError(f"{store.location} holds other files ({others[0]}): choose a folder of its own")
    return Listing(about, str(Path.cwd()), *_count(_write_manifest(store, sources, null=null)), 0)


def begin(store: Store, listing: Listing, *, workers: int, size: int) -> Listing:
    """Decides about the size of the shards (0: what suits images and workers), and writes it down for `--resume`."""
    size = size or min(max(listing.count // (workers * _FOR_EACH_WORKER), _SMALLEST), _LARGEST)
    begun = replace(listing, shard_size=size)
    with store.writing(PLAN) as path:
        path.write_text(to_json(begun, indent=1) + "\n", encoding="utf-8")
    return begun


def read_names(shard: Shard) -> list[str]:
    """Reads the names of a shard's images; raises `DataError` where the manifest cannot be read, or has changed."""
    with open_file(shard.file) as stream:
        try:
            file = pq.ParquetFile(stream)
            column = _find_column(file.schema_arrow.names, shard.file)
            names = file.read_row_group(shard.group, columns=[column])[column].slice(shard.first, shard.count)
        except (OSError, pa.ArrowException) as error:
            raise DataError(f"{shard.file} is not a Parquet file that can be read: {error}") from error
    if len(names) != shard.count:
        raise DataError(f"{shard.file} has changed since the job was begun: begin a new one")
    return [os.fsdecode(name) if name else "" for name in names.to_pylist()]


def _take_up(store: Store, about: dict[str, Any]) -> Listing:
    path = store.locate(PLAN)
    try:
        with open_file(path) as stream:
            begun = from_json(stream.read(), Listing)
        known = {name: begun.about[name] for name in about}
    except (OSError, KeyError, ValueError) as error:
        raise OutputError(f"{path} is damaged ({error!r}): choose another folder") from error
    for name, value in about.items():
        if known[name] != value:
            raise OutputError(
                f"the job in {store.location} has {name} {known[name]}, now it is {value}: "
                "resume it as it was begun, or choose another folder"
            )
    if _count(list(begun.rows)) != (begun.rows, begun.footers):
        raise DataError(f"the manifest of the job in {store.location} has changed: begin a new one in another folder")
    return begun


def _count(files: Sequence[str]) -> tuple[dict[str, list[int]], dict[str, str]]:
    """Returns the number of rows in each row group of each file, and what its metadata add up to."""

    def look(name: str) -> tuple[list[int], str]:
        with open_file(name) as stream:
            try:
                file = pq.ParquetFile(stream)
                known = file.metadata.to_dict()
            except (OSError, pa.ArrowException) as error:
                raise DataError(f"{name} is not a Parquet file that can be read: {error}") from error
        kind = file.schema_arrow.field(_find_column(file.schema_arrow.names, name)).type
        kind = kind.value_type if pa.types.is_dictionary(kind) else kind
        if kind not in {pa.string(), pa.large_string(), pa.string_view(), pa.binary(), pa.large_binary()}:
            raise DataError(f"the names in {name} are {kind}, expected strings: paths or URIs")
        digest = hashlib.sha256(json.dumps(known, default=str).encode()).hexdigest()
        return [group["num_rows"] for group in known["row_groups"]], digest

    with ThreadPoolExecutor(16) as pool:  # far away, each takes its time
        found = dict(zip(files, pool.map(look, files), strict=True))
    return {name: rows for name, (rows, _) in found.items()}, {name: digest for name, (_, digest) in found.items()}


def _write_manifest(store: Store, sources: Sequence[str], *, null: bool) -> list[str]:
    """Writes the names that are not in Parquet files already; returns all files, the user's own first."""
    given: list[str] = []

    def names() -> Iterator[str]:
        for source in sources:
            for name in _expand(source, null=null):
                ending = os.path.splitext(urlsplit(name).path if is_uri(name) else name)[1]  # noqa: PTH122 - a million
                if ending == ".parquet":
                    given.append(name if is_uri(name) else os.path.abspath(name))  # noqa: PTH100 - may be a URI
                elif ending == ".csv":
                    yield from _read_csv(name)
                else:
                    yield name

    listed = names()
    first = next(listed, None)
    if first is None:
        return given
    with store.writing(OWN_MANIFEST) as path:
        _write_names(path, chain([first], listed))
        _count(given)  # what is wrong with them is said before anything is kept
    return [*given, store.locate(OWN_MANIFEST)]


def _expand(source: str, *, null: bool) -> Iterator[str]:
    """Returns what a source names; a list may name URIs, too."""
    if is_uri(source):
        yield from find_objects(source)
    elif is_list(source):
        for name in read_list(source, null=null):
            yield from [name] if is_uri(name) else map(str, expand(Path(name)))
    else:
        yield from map(str, find_images([source], null=null))


def _write_names(path: Path, names: Iterator[str]) -> None:
    """Writes a manifest; paths need not be UTF-8, so they are bytes."""
    schema = pa.schema([("path", pa.binary())])
    with pq.ParquetWriter(path, schema) as writer:
        while block := [os.fsencode(name) for name in islice(names, _ROWS_AT_ONCE)]:
            writer.write_table(pa.table({"path": pa.array(block, pa.binary())}, schema))


def _read_csv(name: str) -> Iterator[str]:
    with open_file(name) as stream, io.TextIOWrapper(stream, "utf-8-sig", "surrogateescape", newline="") as text:
        try:
            reader = csv.reader(text)
            header = next(reader, [])
            location = header.index(_find_column(header, name))
            yield from (row[location] if len(row) > location else "" for row in reader if row)
        except csv.Error as error:
            raise DataError(f"{name} is not a CSV file: {error} in line {reader.line_num}") from error


def _find_column(columns: Sequence[str], name: str) -> str:
    """Finds the column of names; raises `DataError` where none is called so, and there are several."""
    found = [column for column in _COLUMNS if column in columns]
    if not found and len(columns) != 1:
        raise DataError(f"{name} has the columns {', '.join(columns)}, expected one called {' or '.join(_COLUMNS)}")
    return next(iter(found or columns))
