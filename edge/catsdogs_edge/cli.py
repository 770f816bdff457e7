"""The commands `catsdogs`, `catsdogs-cam`, `catsdogs-bench` and `catsdogs-doctor`.

OpenCV and ONNX Runtime are imported inside the call, so that `--help` answers at once.
"""

from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from catsdogs_edge.command import examples, make_app, run
from catsdogs_edge.options import AcceptAll, AsJson, CsvFile, JsonlFile, ModelFile, RunsOn
from catsdogs_edge.providers import Provider
from catsdogs_edge.shipped import MODEL

_app, _cam_app, _bench_app, _doctor_app = (make_app() for _ in range(4))


def main() -> None:
    """Entry point of `catsdogs`."""
    run(_app, extra="edge", quiet=True)


def cam_main() -> None:
    """Entry point of `catsdogs-cam`."""
    run(_cam_app, extra="edge", quiet=True)


def bench_main() -> None:
    """Entry point of `catsdogs-bench`."""
    run(_bench_app, extra="bench", quiet=True)


def doctor_main() -> None:
    """Entry point of `catsdogs-doctor`."""
    run(_doctor_app, extra="edge", quiet=True)


@_app.command()
def _catsdogs(
    version: Annotated[bool, typer.Option("--version", help="Show the version, and those of what it runs on.")] = False,
) -> None:
    """Say which commands there are, and whether what they need is installed.

    Each has a --help of its own, with examples.
    """
    from catsdogs_edge.overview import describe_commands, describe_versions  # noqa: PLC0415

    typer.echo(describe_versions() if version else describe_commands())


@_cam_app.command(
    epilog=examples(
        "catsdogs-cam --list",
        "catsdogs-cam 0",
        "catsdogs-cam cam:C920 --no-window --jsonl -",
        "catsdogs-cam rtsp://user:password@10.0.0.5/live --no-window --csv seen.csv",
        "catsdogs-cam 0 --on cat:2s ./open-the-flap",
        "catsdogs-cam visit.mp4 --save frames/ --record seen.mkv",
    )
)
def _cam(
    source: Annotated[
        str,
        typer.Argument(
            help="Camera: index, /dev path or cam:NAME. Or a URL (rtsp, http), a video, a picture, a folder, a "
            "pattern, @FILE with names, or '-' for standard input.",
        ),
    ] = "0",
    model: ModelFile = MODEL,
    provider: RunsOn = Provider.AUTO,
    threads: Annotated[
        int, typer.Option(min=0, max=256, help="Threads of one inference; 0 for one on each core that may be used.")
    ] = 0,
    accept_all: AcceptAll = False,
    size: Annotated[str | None, typer.Option(metavar="WxH", help="Ask the camera for frames of this size.")] = None,
    raw: Annotated[
        str | None, typer.Option(metavar="WxH", help="Standard input holds RGB24 frames of this size.")
    ] = None,
    no_window: Annotated[bool, typer.Option("--no-window", help="Show nothing.")] = False,
    jsonl: JsonlFile = None,
    csv: CsvFile = None,
    record: Annotated[
        Path | None, typer.Option(help="Record a video, with the answers drawn on it: .mkv, .mp4, .avi or .webm.")
    ] = None,
    save: Annotated[Path | None, typer.Option(help="Save each frame, with the answer drawn on it, in here.")] = None,
    on: Annotated[
        tuple[str, str] | None,
        typer.Option(
            metavar="LABEL:TIME COMMAND", help="Run COMMAND when LABEL has lasted: cat:2s, or cat:2s,dog:500ms."
        ),
    ] = None,
    smoothing: Annotated[
        float, typer.Option(min=0, help="Average over about this many seconds; 0 takes each frame for itself.")
    ] = 0.5,
    frames: Annotated[int | None, typer.Option(min=1, help="Stop after this many frames.")] = None,
    list_cameras: Annotated[bool, typer.Option("--list", help="Show the cameras, after trying each.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="With --list: print JSON.")] = False,
) -> None:
    """Classify what a camera, a stream or a video shows, frame by frame.

    In the window: q or Escape ends, space pauses, s saves the frame, m mirrors. Without a window and without another
    output, JSON Lines go to standard output.
    """
    if list_cameras:
        _list_cameras(as_json=as_json)
    from catsdogs_edge.camera import watch  # noqa: PLC0415
    from catsdogs_edge.classifier import Classifier  # noqa: PLC0415
    from catsdogs_edge.events import Trigger  # noqa: PLC0415
    from catsdogs_edge.files import check_outputs  # noqa: PLC0415
    from catsdogs_edge.frames import Size  # noqa: PLC0415
    from catsdogs_edge.sightings import Origin  # noqa: PLC0415
    from catsdogs_edge.sinks import Wanted, open_sinks  # noqa: PLC0415
    from catsdogs_edge.sources import open_source  # noqa: PLC0415

    try:
        raw_size, camera_size = (Size.parse(text) if text else None for text in (raw, size))
        triggers = Trigger.parse_all(on[0]) if on else ()
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    classifier = Classifier.load(model, provider, threads=threads, spinning=False, accept_all=accept_all)
    origin = Origin.of(classifier, model)
    check_outputs([csv, jsonl, record, save], [model, source])
    with closing(open_source(source, raw=raw_size, size=camera_size)) as opened:
        typer.echo(f"{opened.name}; {origin.describe()}", err=True)
        wanted = Wanted(not no_window, jsonl, csv, record, save, triggers, on[1] if on else "")
        sinks = open_sinks(wanted, origin, opened)
        watched = watch(classifier, opened, sinks, smoothing=smoothing, limit=frames)
    typer.echo(f"{watched.describe()} of {opened.name}", err=True)
    raise typer.Exit(watched.exit_code)


def _list_cameras(*, as_json: bool) -> None:
    """Prints the cameras and ends the command: exit code 1 where there is none that works."""
    from catsdogs_edge.cameras import find_cameras, probe, to_json, to_lines  # noqa: PLC0415

    cameras = find_cameras()
    probes = probe(cameras)
    typer.echo(to_json(cameras, probes) if as_json else to_lines(cameras, probes))
    raise typer.Exit(0 if any(not found.problem for found in probes) else 1)


@_bench_app.command(
    epilog=examples(
        "catsdogs-bench",
        "catsdogs-bench run/onnx/model.onnx run/onnx/model.int8.onnx --png bench.png",
        "catsdogs-bench --pictures holiday/ --json > before.json",
        "catsdogs-bench --pictures holiday/ --compare before.json",
    )
)
def _bench(
    models: Annotated[
        list[Path] | None,
        typer.Argument(help="ONNX files that catsdogs-export wrote.", show_default="the one that comes with catsdogs"),
    ] = None,
    provider: RunsOn = Provider.AUTO,
    pictures: Annotated[
        Path | None, typer.Option(help="Folder of pictures to time.", show_default="drawings of 640x480 pixels")
    ] = None,
    count: Annotated[int, typer.Option(min=20, help="Pictures in each process.")] = 100,
    rounds: Annotated[int, typer.Option(min=1, help="Processes for each figure, in turn; medians are shown.")] = 5,
    compare: Annotated[
        Path | None, typer.Option(help="JSON of an earlier measurement: say what has changed beyond the noise.")
    ] = None,
    png: Annotated[Path | None, typer.Option(help="Draw a plot into this file.")] = None,
    as_json: AsJson = False,
) -> None:
    """Measure models on this machine.

    Latency of each step for one picture after the other, threads, folders on all cores, memory, and the time to the
    first answer of a new process. Each figure is measured in processes of their own: a minute for an INT8 model on two
    cores, two for fp32.
    """
    from catsdogs_edge.bench import Bench, measure  # noqa: PLC0415
    from catsdogs_edge.bench_report import compare_lines, plot, show  # noqa: PLC0415
    from catsdogs_edge.files import check_outputs, check_writable  # noqa: PLC0415

    given = models or [MODEL]
    check_outputs([png], [*given, *([compare] if compare else [])])
    if png:
        if png.is_dir():
            raise typer.BadParameter(f"{png} is a folder, expected a file to write", param_hint="--png")
        check_writable(png.absolute().parent)
        import matplotlib as mpl  # noqa: F401, PLC0415, TID251 - to say now that it is missing, not in half a minute
    before = Bench.from_json(compare) if compare else None
    bench = measure(given, provider, pictures, count=count, rounds=rounds)
    if as_json:
        typer.echo(bench.to_json())
    else:
        show(bench)
    for line in compare_lines(bench, before) if before else ():
        typer.echo(line, err=as_json)
    if png:
        plot(bench, png)


@_doctor_app.command(
    epilog=examples(
        "catsdogs-doctor",
        "catsdogs-doctor --model run/onnx/model.int8.onnx --json",
        "catsdogs-doctor --provider cuda --model run/onnx/model.fp16.onnx",
    )
)
def _doctor(
    model: Annotated[
        Path | None,
        typer.Option(
            help="ONNX file that catsdogs-export wrote.",
            show_default="the one that comes with catsdogs; with a named provider, a small test graph",
        ),
    ] = None,
    provider: RunsOn = Provider.AUTO,
    as_json: AsJson = False,
) -> None:
    """Show what this machine offers, and test a model on it.

    Wheels, CPU, providers, cameras, display. Then the model proves that its file is whole and answers here as it did
    where it was made: it brings its own test, pictures and the logits that it must give. Exit code 1 says that it
    fails, or that wheels overwrite each other.
    """
    from catsdogs_edge.doctor import examine  # noqa: PLC0415

    report = examine(model, provider)
    typer.echo(report.to_json() if as_json else report.describe())
    raise typer.Exit(0 if report.passed else 1)
