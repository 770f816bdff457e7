"""The command `catsdogs-cam`; OpenCV and ONNX Runtime are imported inside the call: `--help` answers at once."""

import os
import re
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING

import typer

from catsdogs_edge.cam.options import CamOptions
from catsdogs_edge.cli.app import OptionalValue, command, make_app, run
from catsdogs_edge.errors import DataError, ExitCode
from catsdogs_edge.options import WEB_ADDRESS
from catsdogs_edge.output.terminal import redact, say

if TYPE_CHECKING:
    from catsdogs_edge.cam.mqtt import Broker
    from catsdogs_edge.capture.sources import Source
    from catsdogs_edge.model.classifier import Classifier
    from catsdogs_edge.model.info import ModelInfo
    from catsdogs_edge.stream.frame_result import Sink
    from catsdogs_edge.web.options import Access

_app = make_app()
main = partial(run, _app, extra="edge", quiet=True)


class _Command(OptionalValue):
    option, otherwise = "--web", WEB_ADDRESS
    looks_like = re.compile(r"(?!cam:)(\[[0-9A-Fa-f:.]+\]|[\w.-]+):\d+")  # no camera, file or URL does


@command(
    _app,
    CamOptions,
    "catsdogs-cam --list",
    "catsdogs-cam 0",
    "catsdogs-cam cam:C920 --no-window --jsonl -",
    "catsdogs-cam rtsp://user:password@10.0.0.5/live --no-window --csv seen.csv",
    "catsdogs-cam 0 --on cat:2s ./open-the-flap",
    "catsdogs-cam 0 --crop flap=200,120,240,240 --crop bowl=0.6,0.5,0.3,0.4 --motion",
    "catsdogs-cam 0 rtsp://10.0.0.5/live --no-window --csv seen.csv",
    "catsdogs-cam visit.mp4 --save frames/ --record seen.mkv",
    "catsdogs-cam 0 --no-window --web",
    "catsdogs-cam 0 --no-window --web 0.0.0.0:8765 --token-file token --mqtt mqtt://home.local/garden",
    cls=_Command,
)
def _cam(options: CamOptions) -> None:
    """Classify what a camera, a stream or a video shows, frame by frame.

    In the window: q or Escape ends, space pauses, s saves the frame, m mirrors. Without a window and without another
    output, JSON Lines go to standard output.
    """
    if options.list:
        _list_cameras(as_json=options.json)
    from catsdogs_edge.capture.frames import Size  # noqa: PLC0415 - first: deeper, NumPy takes 60 ms more

    # isort: split
    from catsdogs_edge.cam.events import Trigger  # noqa: PLC0415
    from catsdogs_edge.cam.sinks import open_sinks  # noqa: PLC0415
    from catsdogs_edge.capture.sources import open_source  # noqa: PLC0415
    from catsdogs_edge.model.classifier import Classifier  # noqa: PLC0415
    from catsdogs_edge.model.info import ModelInfo  # noqa: PLC0415
    from catsdogs_edge.output.files import check_outputs  # noqa: PLC0415
    from catsdogs_edge.stream.pipeline import classify_streams, deliver  # noqa: PLC0415
    from catsdogs_edge.stream.regions import Region  # noqa: PLC0415

    try:
        raw, size = (Size.parse(text) if text else None for text in (options.raw, options.size))
        triggers = Trigger.parse_all(options.on[0]) if options.on else ()
        regions = Region.parse_all(options.crop or ())
        _check_several(options)
        access, broker = _check_access(options), _check_broker(options)
    except DataError:  # a ValueError, too
        raise
    except ValueError as error:
        raise typer.BadParameter(redact(str(error))) from error
    classifier = Classifier.load(
        options.model, options.provider, threads=options.threads, spinning=False, accept_all=options.accept_all
    )
    info = ModelInfo.from_classifier(classifier, options.model)
    names = options.sources or ["0"]
    check_outputs([options.csv, options.jsonl, options.record, options.save], [options.model, *names])
    with ExitStack() as opened:
        sources = []
        for name in names:
            sources.append(source := open_source(name, raw=raw, size=size))
            opened.callback(source.close)
        all_names = ", ".join(source.name for source in sources)
        say(f"{all_names}; {info.describe()}", err=True)
        more: list[Callable[[], Sink]] = []
        if broker:
            more.append(lambda: _open_mqtt(broker, info))
        if access:
            more.append(lambda: _open_web(classifier, info, source, access))
        sinks = open_sinks(options, triggers, info, sources, more)
        results = classify_streams(
            sources, classifier, smoothing=options.smoothing, regions=regions, motion=options.motion
        )
        summary = deliver(results, sinks, limit=options.frames)
    say(f"{summary.describe()} of {all_names}", err=True)
    raise typer.Exit(summary.exit_code)


def _check_several(options: CamOptions) -> None:
    """Refuses what several sources cannot share; raises `ValueError`."""
    sources = options.sources or ["0"]
    if len(sources) > 1:
        if options.record or options.save or options.web or options.mqtt or options.raw:
            raise ValueError("--record, --save, --web, --mqtt and --raw take one source, not several")
        if len(set(sources)) < len(sources) or "-" in sources:
            raise ValueError("several sources must differ, and none may be '-'")


def _check_access(options: CamOptions) -> "Access | None":
    """Returns who may ask the server, if there is to be one; raises `ValueError` for what does not go together."""
    if not options.web:
        given = (options.token_file, options.allow_host, options.allow_origin, options.tls_cert, options.tls_key)
        if any(given) or options.trust_proxy:
            raise ValueError("--token-file, --allow-host, --allow-origin, --tls-* and --trust-proxy go with --web")
        return None
    from catsdogs_edge.web.options import Access  # noqa: PLC0415 - only where there is a server

    return Access.from_options(options.web, options, dict(os.environ))


def _check_broker(options: CamOptions) -> "Broker | None":
    """Returns the MQTT broker, if there is to be one; raises `ValueError` for what is no address."""
    if not options.mqtt:
        return None
    from catsdogs_edge.cam.mqtt import Broker  # noqa: PLC0415 - an extra of its own
    from catsdogs_edge.capture.sources import read_secret  # noqa: PLC0415

    return Broker.parse(read_secret(options.mqtt, "the broker"))


def _open_web(classifier: "Classifier", info: "ModelInfo", source: "Source", access: "Access") -> "Sink":
    from catsdogs_edge.web.sink import WebSink  # noqa: PLC0415 - an extra of its own

    sink = WebSink(classifier, info, source.name, access)
    say(f"The live page: {sink.url}", err=True)
    return sink


def _open_mqtt(broker: "Broker", info: "ModelInfo") -> "Sink":
    from catsdogs_edge.cam.mqtt import MqttSink  # noqa: PLC0415 - an extra of its own

    return MqttSink(broker, info)


def _list_cameras(*, as_json: bool) -> None:
    """Prints the cameras and ends the command, as failed where there is none that works."""
    from catsdogs_edge.capture.cameras import find_cameras, probe, to_json, to_lines  # noqa: PLC0415

    probes = probe(cameras := find_cameras())
    say(to_json(cameras, probes) if as_json else to_lines(cameras, probes))
    raise typer.Exit(ExitCode.DONE if any(not found.problem for found in probes) else ExitCode.FAILED)
