"""The command `catsdogs-cam`; OpenCV and ONNX Runtime are imported inside the call: `--help` answers at once."""

import os
import re
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import typer

from catsdogs_edge.cam.options import CamOptions
from catsdogs_edge.cli.app import OptionalValue, as_wrong_usage, command, make_app
from catsdogs_edge.cli.process import run
from catsdogs_edge.errors import ExitCode, SourceError
from catsdogs_edge.options import WEB_ADDRESS
from catsdogs_edge.output.terminal import say

if TYPE_CHECKING:
    from catsdogs_edge.cam.events import Trigger
    from catsdogs_edge.cam.mqtt import Broker
    from catsdogs_edge.capture.frames import Size
    from catsdogs_edge.capture.sources import Source
    from catsdogs_edge.model.info import ModelInfo
    from catsdogs_edge.output.quota import Limit
    from catsdogs_edge.stream.frame_result import Sink
    from catsdogs_edge.stream.model_file import ReplaceableModel
    from catsdogs_edge.stream.regions import Region
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
    "catsdogs-cam visit.mp4 --no-window --visits visits.csv",
    "catsdogs-cam 0 --no-window --clips clips/ --quota 5GB",
    "catsdogs-cam 0 --no-window --collect collected/",
    "catsdogs-cam 0 --no-window --print-config > cam.toml",
    "catsdogs-cam --config cam.toml",
    "catsdogs-cam 0 --no-window --web",
    "catsdogs-cam 0 --no-window --web 0.0.0.0:8765 --token-file token --mqtt mqtt://home.local/garden",
    cls=_Command,
    is_configurable=True,
)
def _cam(options: CamOptions) -> None:
    """Classify what a camera, a stream or a video shows, frame by frame.

    In the window: q or Escape ends, space pauses, s saves the frame, m mirrors, w shows where the answer comes from.

    Without a window and without another output, JSON Lines go to standard output.
    """
    if options.list:
        _list_cameras(as_json=options.json)
    plan = _read(options)
    from catsdogs_edge.cam.sinks import open_sinks  # noqa: PLC0415
    from catsdogs_edge.cam.visits import Visits  # noqa: PLC0415
    from catsdogs_edge.images.discovery import check_apart  # noqa: PLC0415
    from catsdogs_edge.model.classifier import Classifier  # noqa: PLC0415
    from catsdogs_edge.model.info import ModelInfo  # noqa: PLC0415
    from catsdogs_edge.output.files import check_outputs  # noqa: PLC0415
    from catsdogs_edge.stream.model_file import ReplaceableModel  # noqa: PLC0415
    from catsdogs_edge.stream.pipeline import StreamSummary, classify_streams, deliver  # noqa: PLC0415

    load = partial(
        Classifier.load,
        provider=options.provider,
        threads=options.threads,
        spinning=False,
        accept_all=options.accept_all,
    )
    model = ReplaceableModel(options.model, load)
    classifier = model.current
    info = ModelInfo.from_classifier(classifier, options.model)
    names = options.sources or ["0"]
    check_outputs(options.files, [options.model, *names])
    for option, folder in (("--save", options.save), ("--clips", options.clips), ("--collect", options.collect)):
        if folder:
            check_apart(option, folder, names)
    with ExitStack() as opened:
        opened.callback(model.close)
        sources = _open_all(names, plan, opened)
        watched = ", ".join(source.name for source in sources)
        say(f"{watched}; {info.describe()}", err=True)
        visits = Visits(sources[0].name if len(sources) == 1 else "", options.visits)
        more: list[Callable[[], Sink]] = [lambda: visits]
        if broker := plan.broker:
            more.append(lambda: _open_mqtt(broker, info))
        if access := plan.access:
            more.append(lambda: _open_web(model, info, sources[0], access))
        sinks = open_sinks(options, plan.triggers, model, info, sources, more, plan.limit)
        results = classify_streams(
            sources, model, smoothing=options.smoothing, regions=plan.regions, motion=options.motion
        )
        opened.callback(results.close)  # its threads end before their sources are closed
        summary = StreamSummary()
        try:
            deliver(results, sinks, limit=options.frames, summary=summary)
        finally:  # at Ctrl-C, too
            for line in visits.describe():
                say(line, err=True)
            say(summary.describe(watched), err=True)
    raise typer.Exit(summary.exit_code)


def _open_all(names: Sequence[str], plan: "_Plan", opened: ExitStack) -> "list[Source]":
    """Opens the sources; of several, a camera that is away is lost at first, unless all are."""
    from catsdogs_edge.capture.sources import open_source  # noqa: PLC0415

    to_close: list[Source] = []
    opened.callback(lambda: _do_at_once([source.close for source in to_close]))
    found = _open_at_once([partial(open_source, name, raw=plan.raw, size=plan.size) for name in names], to_close)
    away = [first for first in found if isinstance(first, Exception)]
    if problem := next((error for error in away if not isinstance(error, SourceError)), None):
        raise problem
    if len(away) == len(names):
        raise away[0]
    sources: list[Source] = []
    for name, first in zip(names, found, strict=True):
        if isinstance(first, Exception):  # a file that is not there is an error again
            source = open_source(name, size=plan.size, may_be_away=True)
            to_close.append(source)
        else:
            source = first
        same = sum(other.name.partition(" (")[0] == source.name for other in sources)
        source.name += f" ({same + 1})" if same else ""  # two cameras of one recorder, without their passwords
        sources.append(source)
    for why in away:
        say(str(why), err=True, red=True)
    return sources


def _open_at_once(calls: "Sequence[Callable[[], Source]]", to_close: "list[Source]") -> "list[Source | Exception]":
    """Opens each in a thread of its own, as a camera that is away takes long; returns what came of each."""
    found: dict[int, Source | Exception] = {}

    def attempt(number: int) -> None:
        try:
            source = calls[number]()
            to_close.append(source)  # at once: Ctrl-C may come while others are waited for
            found[number] = source
        except Exception as error:  # noqa: BLE001 - for who asked
            found[number] = error

    _do_at_once([partial(attempt, number) for number in range(len(calls))])
    return [found[number] for number in range(len(calls))]


def _do_at_once(calls: Sequence[Callable[[], None]]) -> None:
    """Makes each call in a thread of its own, also a single one: daemons, for whom Ctrl-C does not wait."""
    threads = [threading.Thread(target=call, daemon=True) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """What the options say, once it is read."""

    raw: "Size | None"
    size: "Size | None"
    triggers: "tuple[Trigger, ...]"
    regions: "tuple[Region, ...]"
    limit: "Limit | None"
    access: "Access | None"
    broker: "Broker | None"


def _read(options: CamOptions) -> _Plan:
    """Reads the options, and ends the command where they are wrong, before anything is opened."""
    from catsdogs_edge.capture.frames import Size  # noqa: PLC0415 - first: deeper, NumPy takes 60 ms more

    # isort: split
    from catsdogs_edge.cam.events import Trigger  # noqa: PLC0415
    from catsdogs_edge.output.quota import Limit  # noqa: PLC0415
    from catsdogs_edge.stream.regions import Region  # noqa: PLC0415

    with as_wrong_usage():
        options.check()
        return _Plan(
            raw=Size.parse(options.raw) if options.raw else None,
            size=Size.parse(options.size) if options.size else None,
            triggers=Trigger.parse_all(options.on[0]) if options.on else (),
            regions=Region.parse_all(options.crop or ()),
            limit=Limit.parse(options.quota) if options.quota else None,
            access=_read_access(options),
            broker=_read_broker(options),
        )


def _read_access(options: CamOptions) -> "Access | None":
    """Returns who may ask the server, if there is to be one; raises `ValueError` for what is no address."""
    if not options.web:
        return None
    from catsdogs_edge.web.options import Access  # noqa: PLC0415 - only where there is a server

    return Access.from_options(options.web, options, dict(os.environ))


def _read_broker(options: CamOptions) -> "Broker | None":
    """Returns the MQTT broker, if there is to be one; raises `ValueError` for what is no address."""
    if not options.mqtt:
        return None
    from catsdogs_edge.cam.mqtt import Broker  # noqa: PLC0415 - an extra of its own
    from catsdogs_edge.capture.sources import read_secret  # noqa: PLC0415

    secret = read_secret(options.mqtt, "the broker")
    try:
        return Broker.parse(secret)
    except ValueError as error:
        raise ValueError(str(error).replace(secret, options.mqtt)) from None  # what was to stay secret is not told


def _open_web(model: "ReplaceableModel", info: "ModelInfo", source: "Source", access: "Access") -> "Sink":
    from catsdogs_edge.web.sink import WebSink  # noqa: PLC0415 - an extra of its own

    sink = WebSink(model, info, source.name, access)
    say(f"The live page: {sink.where}", err=True)
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
