"""The commands `catsdogs-export` and `catsdogs-eval`; TensorFlow is imported inside the call."""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from catsdogs_edge.cli.app import command, make_app
from catsdogs_edge.cli.process import run
from catsdogs_edge.model.bundled import MODEL
from catsdogs_edge.output.terminal import counted
from catsdogs_edge.runtime.imports import importing_tensorflow
from catsdogs_edge.runtime.providers import Provider
from catsdogs_export.options import ExportOptions

if TYPE_CHECKING:
    from catsdogs_export.evaluate import Evaluation
    from catsdogs_export.export import Published
    from catsdogs_export.int8_search import Trial
    from catsdogs_export.parity import FileParity, LabelParity, TensorParity

_export_app, _eval_app = make_app(), make_app()
main = partial(run, _export_app, extra="export")
eval_main = partial(run, _eval_app, extra="export")


@command(
    _export_app,
    ExportOptions,
    "catsdogs-export run --int8",
    "catsdogs-export run --int8 --target arm64 --max-drop 0.5",
    "catsdogs-export run --fp16",
    "catsdogs-export better --int8 --not-worse-than run/onnx/model.int8.onnx",
    "catsdogs-export --describe run/onnx/model.int8.onnx",
    "catsdogs-export --check run/onnx/model.int8.onnx --against run",
)
def _export(options: ExportOptions) -> None:
    """Export a trained model to ONNX, INT8 and fp16, and prove that it answers alike.

    Writes model.onnx, model.int8.onnx, model.fp16.onnx, parity.json and parity.png. When a check fails,
    nothing is written, and an earlier export stays as it was; else all of it is replaced.
    """
    _check_usage(options)
    if options.describe is not None:
        from catsdogs_edge.model.classifier import Classifier  # noqa: PLC0415

        typer.echo(Classifier.load(options.describe, Provider.CPU).contract.to_json(indent=2))
        return
    os.environ["KERAS_BACKEND"] = "tensorflow"  # whatever it was trained with: tf2onnx reads TensorFlow's graph
    with importing_tensorflow():
        from catsdogs_export.export import export  # noqa: PLC0415
        from catsdogs_export.gate import WorseError  # noqa: PLC0415
        from catsdogs_export.int8_search import BudgetError  # noqa: PLC0415
        from catsdogs_export.verify import verify  # noqa: PLC0415

    if options.check is not None and options.against is not None:
        parity = verify(options.check, options.against, max_drop=options.max_drop)
        typer.echo(f"{options.check}:")
        _print_levels_a_and_b(parity.tensors, parity.files)
        if parity.labels is not None:
            _print_level_c(parity.labels, "this file")
    elif options.run is not None:
        folder = options.out or options.run / "onnx"
        try:
            published = export(options.run, folder, options)
        except BudgetError as error:
            _print_trials(error.trials, stderr=True)
            raise
        except WorseError as error:
            for difference in error.differences:
                typer.echo(difference.describe(), err=True)
            raise
        _print_published(published, options)
        typer.echo(f"Published in {folder}")


def _print_published(published: "Published", options: ExportOptions) -> None:
    _print_levels_a_and_b(published.same_tensors, published.same_files)
    if published.fp16 is not None:
        _print_level_c(published.fp16, "fp16")
    if published.int8 is not None:
        _print_trials(published.int8.trials)
        chosen = published.int8.chosen
        _print_level_c(chosen.loss, f"INT8 ({chosen.setting.describe()}, {chosen.latency_ms:.1f} ms)")
    for precision, differences in published.not_worse.items():
        for difference in differences:
            typer.echo(f"{precision.value} against {options.not_worse_than}: {difference.describe()}")
    for precision, maps in published.maps.items():
        typer.echo(f"maps of {precision.value}: {maps.describe()}")


def _check_usage(options: ExportOptions) -> None:
    """Refuses options that do not go together."""
    if sum(value is not None for value in (options.run, options.describe, options.check)) != 1:
        raise typer.BadParameter("expected one of RUN, --describe FILE, --check FILE --against RUN")
    if (options.check is None) != (options.against is None):
        raise typer.BadParameter("--check and --against go together")
    of_export = ("out", "int8", "fp16", "calibrate", "target", "not_worse_than", "seed")
    default = ExportOptions()
    if options.run is None and (
        given := [name for name in of_export if getattr(options, name) != getattr(default, name)]
    ):
        raise typer.BadParameter(f"--{given[0].replace('_', '-')} goes with RUN, which is exported")
    if options.describe is not None and options.max_drop != default.max_drop:
        raise typer.BadParameter("--max-drop does not go with --describe, which compares nothing")
    of_int8 = ("calibrate", "target", "seed")
    if not options.int8 and any(getattr(options, name) != getattr(default, name) for name in of_int8):
        raise typer.BadParameter("--calibrate, --target and --seed only go with --int8")


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalOptions:
    """The options of `catsdogs-eval`."""

    data: Annotated[Path, typer.Argument(help="Folder with one folder of images for each class.")]
    model: Annotated[
        Path,
        typer.Option(
            help="ONNX file of catsdogs-export, or the model.keras of a run folder.",
            show_default="the one that comes with catsdogs",
        ),
    ] = MODEL
    provider: Annotated[Provider, typer.Option(help="Where an ONNX file runs.")] = Provider.AUTO
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False
    other: Annotated[
        Path | None, typer.Option(help="Folder of images that show none of the classes: how many are refused?")
    ] = None
    png: Annotated[Path | None, typer.Option(help="Draw confusion matrix and reliability to this file.")] = None


@command(
    _eval_app,
    EvalOptions,
    "catsdogs-eval data/val",
    "catsdogs-eval data/val --model run/onnx/model.int8.onnx",
    "catsdogs-eval data/val --model run/model.keras --png eval.png --other things/",
)
def _evaluate(options: EvalOptions) -> None:
    """Measure a model on labelled images: accuracy, calibration, log loss, speed."""
    os.environ["KERAS_BACKEND"] = "tensorflow"
    with importing_tensorflow():
        from catsdogs_export.evaluate import evaluate  # noqa: PLC0415
        from catsdogs_export.plots import draw_evaluation  # noqa: PLC0415
    from catsdogs_edge.output.files import atomic_file, check_plot, check_writable  # noqa: PLC0415
    from catsdogs_edge.output.json_text import to_json  # noqa: PLC0415

    if options.png is not None:
        check_writable(options.png.absolute().parent)
        check_plot(options.png)
    result, probabilities, truth = evaluate(options.data, options.model, options.provider, options.other)
    if options.json:
        typer.echo(to_json(result, indent=2))
    else:
        _print_evaluation(result)
    if options.png is not None:
        title = f"{options.model.name} on {counted(result.images, 'image')}: {result.accuracy:.2%}"
        with atomic_file(options.png) as temporary:
            draw_evaluation(probabilities, truth, result.classes, title, temporary)


def _print_levels_a_and_b(tensors: "TensorParity | None", files: "FileParity | None") -> None:
    for found in (tensors, files):
        if found is not None:
            typer.echo(found.describe())


def _print_level_c(loss: "LabelParity", name: str) -> None:
    typer.echo(f"level C, {name} against fp32: {loss.describe()}")
    if loss.familiarity is not None:
        typer.echo(f"level C, what is neither, {name} against fp32: {loss.familiarity.describe()}")


def _print_trials(trials: "Sequence[Trial]", *, stderr: bool = False) -> None:
    from rich.box import SIMPLE_HEAD  # noqa: PLC0415
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    table = Table("INT8 setting", "latency", "accuracy", "lost", "same label", "neither", "verdict", box=SIMPLE_HEAD)
    for trial in trials:
        loss = trial.loss
        table.add_row(
            trial.setting.describe(),
            f"{trial.latency_ms:.1f} ms",
            f"{loss.accuracy:.2%}",
            f"{loss.drop:+.2f}",
            f"{loss.agreement:.2%}",
            "" if loss.familiarity is None else f"{loss.familiarity.agreement:.2%}",
            "over a limit" if loss.why_not else "good enough",
        )
    Console(stderr=stderr, width=None if (sys.stderr if stderr else sys.stdout).isatty() else 120).print(table)


def _print_evaluation(result: "Evaluation") -> None:
    low, high = result.accuracy_interval
    images = counted(result.images, "image")
    typer.echo(f"accuracy            {result.accuracy:.2%} of {images} (95 %: {low:.2%} to {high:.2%})")
    for name, share in result.class_accuracy.items():
        typer.echo(f"  {name:<17} {share:.2%}")
    typer.echo(f"calibration error   {result.calibration_error:.2%} (15 bins)")
    typer.echo(f"log loss            {result.log_loss:.4f} nats")
    typer.echo(f"throughput          {result.images_per_second:.1f} images a second, decoding included")
    if result.kept is not None:
        right = "" if result.kept_accuracy is None else f", of which {result.kept_accuracy:.2%} are right"
        typer.echo(f"familiar            {result.kept:.2%}{right}")
    if result.outliers_refused is not None:
        typer.echo(
            f"neither             {result.outliers_refused:.2%} of {result.outliers} others are refused; AUROC "
            f"{result.outliers_auroc:.4f}"
        )
    typer.echo("answers, a row for each true class")
    width = max(len(name) for name in result.classes)
    for name, row in zip(result.classes, result.confusion, strict=True):
        typer.echo(f"  {name:<{width}} " + " ".join(f"{count:6d}" for count in row))
    if result.unreadable:
        typer.echo(f"left out, because they could not be read: {counted(result.unreadable, 'image')}", err=True)
