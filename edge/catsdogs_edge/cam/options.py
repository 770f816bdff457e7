"""What a user can ask `catsdogs-cam` for."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, TypeAlias

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

CLIP_MARGIN = 3.0
"""Seconds of a clip before and after a visit, if nothing else is said."""

# Python 3.14 reads annotations in the class, where `list` is an option
_Texts: TypeAlias = list[str]


class SaveWhen(StrEnum):
    """Which frames are saved."""

    ALL = "all"
    CHANGES = "changes"
    """The first of each label."""
    EVENTS = "events"
    """The first of each visit: of a label that is a class."""
    UNSURE = "unsure"
    """Those whose answer is not sure, one a second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CamOptions(WebOptions):
    """The options of `catsdogs-cam`, each declared once."""

    sources: Annotated[
        _Texts | None,
        typer.Argument(
            help="Cameras: index, /dev path or cam:NAME. Or a URL (rtsp, http), a video, an image, a folder, a "
            "pattern, @FILE with names, or '-' for standard input. Several share one model.",
            show_default="0",
            envvar="CATSDOGS_SOURCES",
            show_envvar=False,
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
        _Texts | None,
        typer.Option(
            metavar="[NAME=]X,Y,W,H",
            help="Classify only this part of each frame, in pixels or shares; more than once: each for itself.",
        ),
    ] = None
    motion: Annotated[
        bool, typer.Option("--motion", help="Classify only while something moves there; what is still costs little.")
    ] = False
    no_window: Annotated[bool, typer.Option("--no-window", help="Open no window.")] = False
    jsonl: JsonlFile = None
    csv: CsvFile = None
    record: Annotated[
        Path | None,
        typer.Option(
            help="Record a video, with the answers drawn on it: .mkv, .mp4, .avi or .webm; into a folder, one of ten "
            "minutes after the other."
        ),
    ] = None
    save: Annotated[Path | None, typer.Option(help="Save frames, with their answers drawn on them, here.")] = None
    save_when: Annotated[
        SaveWhen,
        typer.Option(
            help="Which frames --save keeps: all, where the label changes, where a visit begins, or what is not sure."
        ),
    ] = SaveWhen.ALL
    clips: Annotated[
        Path | None, typer.Option(help="Write a video (.webm) and an image (.jpg) of each visit into this folder.")
    ] = None
    clip_before: Annotated[float, typer.Option(min=0, max=60, help="Seconds of a clip before the visit.")] = CLIP_MARGIN
    clip_after: Annotated[float, typer.Option(min=0, max=60, help="Seconds of a clip after the visit.")] = CLIP_MARGIN
    collect: Annotated[
        Path | None,
        typer.Option(
            help="Keep frames that a model would learn from (doubtful ones, the first of a visit, some at random; no "
            "near copies) in this folder, for catsdogs-review: up to 500 MB without --quota."
        ),
    ] = None
    quota: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE",
            help="Most that the folders of --clips, --record and --collect hold each: 500MB, 20GB, or 14d for days.",
        ),
    ] = None
    on: Annotated[
        tuple[str, str] | None,
        typer.Option(
            metavar="LABEL:TIME COMMAND", help="Run COMMAND when LABEL has lasted: cat:2s, or cat:2s,dog:500ms."
        ),
    ] = None
    web: Annotated[
        str | None,
        typer.Option(
            metavar="[HOST:PORT]",
            help="Serve a live page, an API and metrics; at " + WEB_ADDRESS + " by default.",
        ),
    ] = None
    mqtt: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Tell an MQTT broker, and Home Assistant with it: mqtt://user:password@host/NAME-OF-THE-CAMERA.",
        ),
    ] = None
    visits: Annotated[
        Path | None, typer.Option(help="Write who came, and when, to this .csv, or .json; a summary is printed anyway.")
    ] = None
    smoothing: Annotated[
        float, typer.Option(min=0, help="Average over about this many seconds; 0 takes each frame for itself.")
    ] = 0.5
    frames: Annotated[int | None, typer.Option(min=1, help="Stop after this many frames.")] = None
    list: Annotated[
        bool, typer.Option("--list", help="Show the cameras, after trying each.", allow_from_autoenv=False)
    ] = False
    json: Annotated[bool, typer.Option("--json", help="With --list: print JSON.", allow_from_autoenv=False)] = False

    @property
    def records_into_folder(self) -> bool:
        """Whether --record names a folder: one that is there, or a name without an ending."""
        return self.record is not None and (self.record.is_dir() or not self.record.suffix)

    @property
    def has_output(self) -> bool:
        """Whether there is something else to show for it than a window and JSON Lines."""
        outputs = (
            self.csv, self.record, self.save, self.clips, self.collect, self.visits, self.web, self.mqtt, self.on,
        )  # fmt: skip
        return any(output is not None for output in outputs)

    @property
    def files(self) -> tuple[Path | None, ...]:
        """What is written to."""
        return self.csv, self.jsonl, self.record, self.save, self.clips, self.collect, self.visits

    def check(self) -> None:
        """Raises `ValueError` for what does not go together."""
        if self.quota and not (self.clips or self.collect or self.records_into_folder):
            raise ValueError("--quota goes with --clips, --collect, or a folder to --record into")
        if self.save_when is not SaveWhen.ALL and not self.save:
            raise ValueError("--save-when goes with --save")
        if not self.clips and (self.clip_before, self.clip_after) != (CLIP_MARGIN, CLIP_MARGIN):
            raise ValueError("--clip-before and --clip-after go with --clips")
        if self.json and not self.list:
            raise ValueError("--json goes with --list: rows are --jsonl")
        of_server = (self.token_file, self.allow_host, self.allow_origin, self.tls_cert, self.tls_key)
        if not self.web and (any(of_server) or self.trust_proxy):
            raise ValueError("--token-file, --allow-host, --allow-origin, --tls-* and --trust-proxy go with --web")
        sources = self.sources or ["0"]
        if len(sources) > 1:
            if self.record or self.save or self.web or self.mqtt or self.raw:
                raise ValueError("--record, --save, --web, --mqtt and --raw take one source, not several")
            if len(set(sources)) < len(sources) or "-" in sources:
                raise ValueError("several sources must differ, and none may be '-'")
