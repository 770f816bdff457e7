"""What a user can ask `catsdogs-classify` for."""

import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from catsdogs_edge.model.bundled import MODEL
from catsdogs_edge.options import AcceptAll, CsvFile, JsonlFile, ModelFile, RunsOn
from catsdogs_edge.runtime.providers import Provider


def is_address(source: str) -> bool:
    """Returns whether a source is the address of something on a web server."""
    return re.match(r"https?://[^/]", source, re.IGNORECASE) is not None


class Engine(StrEnum):
    """What drives the work."""

    LOCAL = "local"
    """This process, on the cores of this machine."""
    RAY = "ray"
    """A Ray cluster; one is started here where `RAY_ADDRESS` names none."""


class PartFormat(StrEnum):
    """The format of the parts of results."""

    CSV = "csv"
    PARQUET = "parquet"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassifyOptions:
    """The options of `catsdogs-classify`, each declared once."""

    sources: Annotated[
        list[str],
        typer.Argument(
            help="Images, folders, patterns in quotes, @FILE with names, '-' for names on standard input. With "
            "--engine ray also URIs of the same, and manifests: .parquet or .csv files with a column of names."
        ),
    ]
    model: ModelFile = MODEL
    provider: RunsOn = Provider.AUTO
    threads: Annotated[int, typer.Option(min=0, max=4096, help="Cores to work on; 0 for all that may be used.")] = 0
    accept_all: AcceptAll = False
    csv: CsvFile = None
    jsonl: JsonlFile = None
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the output file: leave out the images that it holds.")
    ] = False
    watch: Annotated[
        bool, typer.Option("--watch", help="Then wait for new images in the folders, finished ones, until Ctrl-C.")
    ] = False
    copy: Annotated[Path | None, typer.Option(metavar="DIR", help="Copy each image into DIR/LABEL.")] = None
    move: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Move each image into DIR/LABEL; nothing is overwritten.")
    ] = None
    maps: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Write each image, beside what each part of it says for the answer, into DIR."
        ),
    ] = None
    null: Annotated[
        bool, typer.Option("--null", "-0", help="Names in lists end with NUL bytes, as 'find -print0' writes them.")
    ] = False
    engine: Annotated[
        Engine, typer.Option(help="What drives the work: this process, or Ray, on this machine or RAY_ADDRESS.")
    ] = Engine.LOCAL
    parts: Annotated[
        str | None, typer.Option(metavar="PLACE", help="With ray: folder, or URI of one, for the parts of the results.")
    ] = None
    format: Annotated[PartFormat, typer.Option(help="With ray: file format of the parts.")] = PartFormat.PARQUET
    shard_size: Annotated[
        int, typer.Option(min=0, max=10**6, help="With ray: images in a part; 0 for what suits their number.")
    ] = 0

    @property
    def sort_to(self) -> Path | None:
        """The folder to sort images into, if any."""
        return self.copy or self.move
