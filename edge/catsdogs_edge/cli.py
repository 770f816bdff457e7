"""The commands of the edge: `catsdogs-classify` and `catsdogs-cam`.

OpenCV and ONNX Runtime are imported inside the call, so that `--help` answers at once.
"""

from pathlib import Path
from typing import Annotated

import typer

from catsdogs_edge.command import run
from catsdogs_edge.providers import Provider

_classify_app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
_cam_app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

_doctor_app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

_Model = Annotated[Path, typer.Option("--model", help="ONNX file that catsdogs-export wrote.")]
_Provider = Annotated[
    Provider,
    typer.Option("--provider", help="Where to run; 'cuda' fails where CUDA does not work, 'auto' takes the CPU then."),
]


def classify_main() -> None:
    """Entry point of `catsdogs-classify`."""
    run(_classify_app, extra="edge")


def cam_main() -> None:
    """Entry point of `catsdogs-cam`."""
    run(_cam_app, extra="edge")


def doctor_main() -> None:
    """Entry point of `catsdogs-doctor`."""
    run(_doctor_app, extra="edge")


@_classify_app.command(epilog="Example: catsdogs-classify holiday/ --model model.int8.onnx --csv labels.csv")
def _classify(
    paths: Annotated[list[Path], typer.Argument(help="Pictures, and folders to search for pictures.")],
    model: _Model,
    provider: _Provider = Provider.AUTO,
    csv: Annotated[
        Path | None,
        typer.Option(help="Write the rows to this CSV file, '-' for standard output, not as a table."),
    ] = None,
) -> None:
    """Classify pictures and folders of pictures.

    A picture that cannot be read is a row with its error. Exit code 3 says that there was one.
    """
    from catsdogs_edge.classifier import Classifier  # noqa: PLC0415
    from catsdogs_edge.folder import classify_files  # noqa: PLC0415
    from catsdogs_edge.pictures import find_pictures  # noqa: PLC0415
    from catsdogs_edge.tables import Summary, write_csv, write_table  # noqa: PLC0415

    classifier = Classifier.load(model, provider)
    summary = Summary()
    rows = summary.count(classify_files(classifier, find_pictures(paths)))
    if csv is None:
        write_table(rows)
    else:
        write_csv(rows, classifier.contract.classes, csv)
    typer.echo(f"{summary.describe()}; {model.name} on {classifier.provider}", err=True)
    raise typer.Exit(summary.exit_code)


@_cam_app.command(epilog="Example: catsdogs-cam 0 --model model.int8.onnx")
def _cam(
    source: Annotated[str, typer.Argument(help="Camera index, or a video file.")] = "0",
    *,
    model: _Model,
    provider: _Provider = Provider.AUTO,
    no_window: Annotated[
        bool,
        typer.Option("--no-window", help="Show nothing; JSON Lines go to standard output unless --jsonl."),
    ] = False,
    jsonl: Annotated[
        Path | None, typer.Option(help="Write a JSON object a frame to this file, '-' for standard output.")
    ] = None,
    frames: Annotated[int | None, typer.Option(min=1, help="Stop after this many frames.")] = None,
) -> None:
    """Classify what a camera or a video shows, frame by frame.

    In the window, q or Escape ends it.
    """
    from catsdogs_edge.camera import watch  # noqa: PLC0415
    from catsdogs_edge.classifier import Classifier  # noqa: PLC0415
    from catsdogs_edge.sinks import open_sinks  # noqa: PLC0415
    from catsdogs_edge.sources import VideoSource  # noqa: PLC0415

    classifier = Classifier.load(model, provider)
    with VideoSource.open(source) as video:
        sinks = open_sinks(classifier.contract.classes, window=not no_window, jsonl=jsonl)
        count = watch(classifier, video, sinks, limit=frames)
    typer.echo(f"{count} frames of {video.name}; {model.name} on {classifier.provider}", err=True)


@_doctor_app.command(epilog="Example: catsdogs-doctor --model model.int8.onnx")
def _doctor(
    model: _Model,
    provider: _Provider = Provider.AUTO,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Prove that a model file is whole and answers on this machine as it did where it was made.

    The file brings its own test: pictures, and the logits that it must give. Exit code 1 says that it fails.
    """
    from catsdogs_edge.doctor import examine  # noqa: PLC0415

    report = examine(model, provider)
    typer.echo(report.to_json() if as_json else report.describe())
    raise typer.Exit(0 if report.outcome.passed else 1)
