"""The command `catsdogs-doctor`; OpenCV and ONNX Runtime are imported inside the call: `--help` answers at once."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from catsdogs_edge.cli.app import command, make_app
from catsdogs_edge.cli.process import run
from catsdogs_edge.errors import ExitCode
from catsdogs_edge.options import AsJson, RunsOn
from catsdogs_edge.runtime.providers import Provider

_app = make_app()
main = partial(run, _app, extra="edge", quiet=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class DoctorOptions:
    """The options of `catsdogs-doctor`."""

    model: Annotated[
        Path | None,
        typer.Option(
            help="ONNX file that catsdogs-export wrote.",
            show_default="the one that comes with catsdogs; with a named provider, a small test graph",
        ),
    ] = None
    provider: RunsOn = Provider.AUTO
    json: AsJson = False


@command(
    _app,
    DoctorOptions,
    "catsdogs-doctor",
    "catsdogs-doctor --model run/onnx/model.int8.onnx --json",
    "catsdogs-doctor --provider cuda --model run/onnx/model.fp16.onnx",
)
def _doctor(options: DoctorOptions) -> None:
    """Show what this machine offers, and test a model on it.

    Wheels, CPU, providers, cameras, display. Then the model proves that its file is whole and answers here as it did
    where it was made: it brings its own test, images and the logits that it must give. Exit code 1 says that it
    fails, or that wheels overwrite each other.
    """
    from catsdogs_edge.doctor.examine import examine  # noqa: PLC0415

    report = examine(options.model, options.provider)
    typer.echo(report.to_json() if options.json else report.describe())
    raise typer.Exit(ExitCode.DONE if report.passed else ExitCode.FAILED)
