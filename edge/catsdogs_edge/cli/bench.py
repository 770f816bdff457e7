"""The command `catsdogs-bench`; OpenCV and ONNX Runtime are imported inside the call: `--help` answers at once."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from catsdogs_edge.cli.app import command, make_app
from catsdogs_edge.cli.process import run
from catsdogs_edge.model.bundled import MODEL
from catsdogs_edge.options import AsJson, RunsOn
from catsdogs_edge.runtime.providers import Provider

_app = make_app()
main = partial(run, _app, extra="bench", quiet=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchOptions:
    """The options of `catsdogs-bench`."""

    models: Annotated[
        list[Path] | None,
        typer.Argument(help="ONNX files that catsdogs-export wrote.", show_default="the one that comes with catsdogs"),
    ] = None
    provider: RunsOn = Provider.AUTO
    images: Annotated[
        Path | None,
        typer.Option(
            "--images", "--pictures", help="Folder of images to time.", show_default="drawings of 640x480 pixels"
        ),
    ] = None
    count: Annotated[int, typer.Option(min=20, help="Images in each process.")] = 100
    rounds: Annotated[int, typer.Option(min=1, help="Processes for each figure, in turn; medians are shown.")] = 5
    compare: Annotated[
        Path | None, typer.Option(help="JSON of an earlier measurement: say what has changed beyond the noise.")
    ] = None
    png: Annotated[Path | None, typer.Option(help="Draw a plot into this file.")] = None
    json: AsJson = False


@command(
    _app,
    BenchOptions,
    "catsdogs-bench",
    "catsdogs-bench run/onnx/model.onnx run/onnx/model.int8.onnx --png bench.png",
    "catsdogs-bench --images holiday/ --json > before.json",
    "catsdogs-bench --images holiday/ --compare before.json",
)
def _bench(options: BenchOptions) -> None:
    """Measure models on this machine.

    Latency of each step for one image after the other, threads, folders on all cores, memory, and the time to the
    first answer of a new process. Each figure is measured in processes of their own: a minute for an INT8 model on two
    cores, two for fp32.
    """
    from catsdogs_edge.bench.measure import Bench, measure  # noqa: PLC0415
    from catsdogs_edge.bench.report import compare_lines, plot, show  # noqa: PLC0415
    from catsdogs_edge.output.files import check_outputs, check_plot, check_writable  # noqa: PLC0415

    models, png = options.models or [MODEL], options.png
    check_outputs([png], [*models, *([options.compare] if options.compare else [])])
    if png:
        if png.is_dir():
            raise typer.BadParameter(f"{png} is a folder, expected a file to write", param_hint="--png")
        check_writable(png.absolute().parent)
        check_plot(png)
        import matplotlib as mpl  # noqa: F401, PLC0415 - to say now that it is missing, not in half a minute
    before = Bench.from_json(options.compare) if options.compare else None
    bench = measure(models, options.provider, options.images, count=options.count, rounds=options.rounds)
    if options.json:
        typer.echo(bench.to_json())
    else:
        show(bench)
    for line in compare_lines(bench, before) if before else ():
        typer.echo(line, err=options.json)
    if png:
        plot(bench, png)
