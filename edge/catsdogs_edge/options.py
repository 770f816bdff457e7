"""Options that several commands of the edge have."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from catsdogs_edge.runtime.providers import Provider

WEB_ADDRESS = "127.0.0.1:8765"
"""Where the server listens, if nothing else is said."""

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
InferenceThreads = Annotated[
    int,
    typer.Option(
        "--threads", min=0, max=256, help="Threads of one inference; 0 for one on each core that may be used."
    ),
]
ListenAt = Annotated[str, typer.Argument(metavar="[HOST:PORT]", help="Where to listen; 0.0.0.0:PORT for all networks.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class WebOptions:
    """What all commands that listen on the network have in common."""

    token_file: Annotated[
        Path | None,
        typer.Option(help="File with the token that every request must show; or set CATSDOGS_TOKEN."),
    ] = None
    allow_host: Annotated[
        str | None, typer.Option(metavar="NAME[,NAME]", help="Names by which the server may be asked.")
    ] = None
    allow_origin: Annotated[
        str | None,
        typer.Option(metavar="URL[,URL]", help="Other web pages that may ask the server, and show it in a frame."),
    ] = None
    tls_cert: Annotated[Path | None, typer.Option(help="Certificate (PEM): serve https.")] = None
    tls_key: Annotated[Path | None, typer.Option(help="Key of --tls-cert (PEM).")] = None
    trust_proxy: Annotated[
        bool, typer.Option("--trust-proxy", help="Believe what a reverse proxy on this machine says of clients.")
    ] = False
