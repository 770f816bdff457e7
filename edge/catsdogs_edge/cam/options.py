"""What a user can ask `catsdogs-cam` for."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from catsdogs_edge.model.bundled import MODEL
from catsdogs_edge.options import (
    WEB_ADDRESS,
    AcceptAll,
    CsvFile,
    InferenceThreads,
    JsonlFile,
    ModelFile,
    RunsOn,
    WebOptions,
)
from catsdogs_edge.runtime.providers import Provider


@dataclass(frozen=True, slots=True, kw_only=True)
class CamOptions(WebOptions):
    """The options of `catsdogs-cam`, each declared once."""

    sources: Annotated[
        list[str] | None,
        typer.Argument(
            help="Cameras: index, /dev path or cam:NAME. Or a URL (rtsp, http), a video, an image, a folder, a "
            "pattern, @FILE with names, or '-' for standard input. Several share one model.",
            show_default="0",
        ),
    ] = None
    model: ModelFile = MODEL
    provider: RunsOn = Provider.AUTO
    threads: InferenceThreads = 0
    accept_all: AcceptAll = False
    size: Annotated[str | None, typer.Option(metavar="WxH", help="Ask the camera for frames of this size.")] = None
    raw: Annotated[str | None, typer.Option(metavar="WxH", help="Standard input holds RGB24 frames of this size.")] = (
        None
    )
    crop: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[NAME=]X,Y,W,H",
            help="Classify only this part of each frame, in pixels or shares; more than once: each for itself.",
        ),
    ] = None
    motion: Annotated[
        bool, typer.Option("--motion", help="Classify only while something moves there; what is still costs little.")
    ] = False
    no_window: Annotated[bool, typer.Option("--no-window", help="Show nothing.")] = False
    jsonl: JsonlFile = None
    csv: CsvFile = None
    record: Annotated[
        Path | None, typer.Option(help="Record a video, with the answers drawn on it: .mkv, .mp4, .avi or .webm.")
    ] = None
    save: Annotated[Path | None, typer.Option(help="Save each frame, with the answer drawn on it, in here.")] = None
    on: Annotated[
        tuple[str, str] | None,
        typer.Option(
            metavar="LABEL:TIME COMMAND", help="Run COMMAND when LABEL has lasted: cat:2s, or cat:2s,dog:500ms."
        ),
    ] = None
    web: Annotated[
        str | None,
        typer.Option(
            metavar="[HOST:PORT]", help=f"Serve a live page, an API and metrics, at {WEB_ADDRESS} if nothing is said."
        ),
    ] = None
    mqtt: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Tell an MQTT broker, and Home Assistant with it: mqtt://user:password@host/NAME-OF-THE-CAMERA.",
        ),
    ] = None
    smoothing: Annotated[
        float, typer.Option(min=0, help="Average over about this many seconds; 0 takes each frame for itself.")
    ] = 0.5
    frames: Annotated[int | None, typer.Option(min=1, help="Stop after this many frames.")] = None
    list: Annotated[bool, typer.Option("--list", help="Show the cameras, after trying each.")] = False
    json: Annotated[bool, typer.Option("--json", help="With --list: print JSON.")] = False
