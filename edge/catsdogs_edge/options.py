"""Options that several commands of the edge have."""

from pathlib import Path
from typing import Annotated

import typer

from catsdogs_edge.runtime.providers import Provider

ModelFile = Annotated[
    Path,
    typer.Option(
        "--model", help="ONNX file that catsdogs-export wrote.", show_default="the one that comes with catsdogs"
    ),
]
RunsOn = Annotated[
    Provider,
    typer.Option("--provider", help="Where to run. A named one fails where it does not work; 'auto' takes the best."),
]
CsvFile = Annotated[Path | None, typer.Option("--csv", help="Write rows to this CSV file, '-' for standard output.")]
JsonlFile = Annotated[
    Path | None, typer.Option("--jsonl", help="Write a JSON object a line to this file, '-' for standard output.")
]
AcceptAll = Annotated[
    bool, typer.Option("--accept-all", help="Never answer 'neither': one of the classes for every image.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
