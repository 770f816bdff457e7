"""The commands `catsdogs-export` and `catsdogs-eval`.

TensorFlow is imported inside the call, so that `--help` answers at once.
"""

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from catsdogs_edge.command import examples, make_app, tensorflow_quiet
from catsdogs_edge.command import run as run_command
from catsdogs_edge.cpu import Target
from catsdogs_edge.providers import Provider

if TYPE_CHECKING:
    from catsdogs_export.budget import Trial
    from catsdogs_export.check import Checked
    from catsdogs_export.evaluate import Evaluation
    from catsdogs_export.parity import Loss, SameTensors
    from catsdogs_export.publish import Published

_export_app = make_app()
_eval_app = make_app()


def main() -> None:
    """Entry point of `catsdogs-export`."""
    run_command(_export_app, extra="export")


def eval_main() -> None:
    """Entry point of `catsdogs-eval`."""
    run_command(_eval_app, extra="export")


@_export_app.command(
    epilog=examples(
        "catsdogs-export run --int8",
        "catsdogs-export run --int8 --target arm64 --max-drop 0.5",
        "catsdogs-export run --fp16",
        "catsdogs-export --describe run/onnx/model.int8.onnx",
        "catsdogs-export --check run/onnx/model.int8.onnx --against run",
    )
)
def _export(
    run: Annotated[Path | None, typer.Argument(help="Run folder that catsdogs-train wrote.")] = None,
    *,
    out: Annotated[Path | None, typer.Option(help="Folder to publish in, of its own; else RUN/onnx.")] = None,
    int8: Annotated[bool, typer.Option("--int8", help="Also write model.int8.onnx, for CPUs.")] = False,
    fp16: Annotated[bool, typer.Option("--fp16", help="Also write model.fp16.onnx, for CUDA.")] = False,
    calibrate: Annotated[
        Path | None,
        typer.Option(help="With --int8: folder of pictures to calibrate on; else the run's training pictures."),
    ] = None,
    max_drop: Annotated[
        float, typer.Option(min=0, help="Accuracy that INT8 and fp16 may lose, in percentage points.")
    ] = 0.3,
    target: Annotated[
        Target | None, typer.Option(help="With --int8: the kind of CPU to quantize for; else this machine's.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the choice of calibration pictures.")] = 0,
    describe: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Print the contract inside an ONNX file, and do nothing else.")
    ] = None,
    check: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Compare an ONNX file with the run of --against again.")
    ] = None,
    against: Annotated[Path | None, typer.Option(metavar="RUN", help="With --check: its run folder.")] = None,
) -> None:
    """Export a trained model to ONNX, INT8 and fp16, and prove that it answers alike.

    Writes model.onnx, model.int8.onnx, model.fp16.onnx, parity.json and parity.png. When a check fails,
    nothing is written, and an earlier export stays as it was; else all of it is replaced.
    """
    if sum(value is not None for value in (run, describe, check)) != 1:
        raise typer.BadParameter("expected one of RUN, --describe FILE, --check FILE --against RUN")
    if (check is None) != (against is None):
        raise typer.BadParameter("--check and --against go together")
    if not int8 and (calibrate is not None or target is not None):
        raise typer.BadParameter("--calibrate and --target only go with --int8")
    if describe is not None:
        from catsdogs_edge.classifier import Classifier  # noqa: PLC0415

        typer.echo(Classifier.load(describe, Provider.CPU).contract.to_json(indent=2))
        return
    os.environ["KERAS_BACKEND"] = "tensorflow"  # whatever it was trained with: tf2onnx reads TensorFlow's graph
    with tensorflow_quiet():
        from catsdogs_export.budget import BudgetError  # noqa: PLC0415
        from catsdogs_export.check import check as check_file  # noqa: PLC0415
        from catsdogs_export.publish import Request, export  # noqa: PLC0415

    if check is not None and against is not None:
        _print_checked(check, check_file(check, against, max_drop=max_drop))
    elif run is not None:
        folder = out or run / "onnx"
        try:
            published = export(Request(run, folder, int8, fp16, calibrate, max_drop, target, seed))
        except BudgetError as error:
            _print_trials(error.trials, stderr=True)
            raise
        _print_published(folder, published)


@_eval_app.command(
    epilog=examples(
        "catsdogs-eval data/val --model run/onnx/model.int8.onnx",
        "catsdogs-eval data/val --model run/model.keras --png eval.png --other things/",
    )
)
def _evaluate(
    data: Annotated[Path, typer.Argument(help="Folder with one folder of pictures for each class.")],
    model: Annotated[Path, typer.Option(help="ONNX file of catsdogs-export, or the model.keras of a run folder.")],
    *,
    provider: Annotated[Provider, typer.Option(help="Where an ONNX file runs.")] = Provider.AUTO,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    other: Annotated[
        Path | None, typer.Option(help="Folder of pictures that show none of the classes: how many are refused?")
    ] = None,
    png: Annotated[Path | None, typer.Option(help="Draw confusion matrix and reliability to this file.")] = None,
) -> None:
    """Measure a model on labelled pictures: accuracy, calibration, log loss, speed."""
    os.environ["KERAS_BACKEND"] = "tensorflow"
    with tensorflow_quiet():
        from catsdogs_export.evaluate import evaluate  # noqa: PLC0415
        from catsdogs_export.plots import draw_evaluation  # noqa: PLC0415
    from catsdogs_edge.files import staged_file  # noqa: PLC0415

    result, probabilities, truth = evaluate(data, model, provider, other)
    if png is not None:
        title = f"{model.name} on {result.pictures} pictures: {result.accuracy:.2%}"
        with staged_file(png) as temporary:
            draw_evaluation(probabilities, truth, result.classes, title, temporary)
    if as_json:
        typer.echo(json.dumps(asdict(result), indent=2))
    else:
        _print_evaluation(result)


def _print_published(folder: Path, published: "Published") -> None:
    tensors, files = published.same_tensors, published.same_files
    typer.echo(
        f"level A, fp32 against Keras on {tensors.tensors} tensors: largest difference of logits "
        f"{tensors.max_logit_difference:.2g}{_of_familiarity(tensors)} (limit {tensors.limit:g})",
    )
    typer.echo(
        f"level B, the same on {files.files} files: {files.agreement:.2%} of the labels agree, largest difference of "
        f"probabilities {files.max_probability_difference:.2g} (limit {files.limit:g})",
    )
    if published.fp16 is not None:
        typer.echo(f"level C, fp16 against fp32: {published.fp16.describe()}")
        _print_kept("fp16", published.fp16)
    if published.int8 is not None:
        _print_trials(published.int8.trials)
        chosen = published.int8.chosen
        typer.echo(
            f"level C, INT8 ({chosen.setting.describe()}, {chosen.latency_ms:.1f} ms) against fp32: "
            f"{chosen.loss.describe()}",
        )
        _print_kept("INT8", chosen.loss)
    typer.echo(f"Published in {folder}")


def _of_familiarity(tensors: "SameTensors") -> str:
    difference = tensors.max_familiarity_difference
    return "" if difference is None else f", of familiarity {difference:.2g}"


def _print_kept(name: str, loss: "Loss") -> None:
    if loss.kept is not None:
        typer.echo(f"level C, familiarity of {name} against fp32: {loss.kept.describe()}")


def _print_trials(trials: Sequence["Trial"], *, stderr: bool = False) -> None:
    table = Table("INT8 setting", "latency", "accuracy", "lost", "same label", "verdict", box=SIMPLE_HEAD)
    for trial in trials:
        loss = trial.loss
        table.add_row(
            trial.setting.describe(),
            f"{trial.latency_ms:.1f} ms",
            f"{loss.accuracy:.2%}",
            f"{loss.drop:+.2f}",
            f"{loss.agreement:.2%}",
            "over a limit" if loss.why_not else "good enough",
        )
    Console(stderr=stderr, width=None if sys.stdout.isatty() else 120).print(table)


def _print_checked(file: Path, checked: "Checked") -> None:
    if checked.same_tensors is not None and checked.same_files is not None:
        typer.echo(
            f"{file}: largest difference of logits {checked.same_tensors.max_logit_difference:.2g}, of probabilities "
            f"on the same files {checked.same_files.max_probability_difference:.2g}",
        )
    if checked.loss is not None:
        typer.echo(f"{file} against fp32: {checked.loss.describe()}")
        _print_kept(checked.contract.precision.value, checked.loss)


def _print_evaluation(result: "Evaluation") -> None:
    low, high = result.accuracy_interval
    typer.echo(
        f"accuracy            {result.accuracy:.2%} of {result.pictures} pictures (95 %: {low:.2%} to {high:.2%})"
    )
    for name, share in result.class_accuracy.items():
        typer.echo(f"  {name:<17} {share:.2%}")
    typer.echo(f"calibration error   {result.calibration_error:.2%} (15 bins)")
    typer.echo(f"log loss            {result.log_loss:.4f} nats")
    typer.echo(f"throughput          {result.pictures_per_second:.1f} pictures a second, decoding included")
    if result.kept is not None:
        right = "" if result.kept_accuracy is None else f", of which {result.kept_accuracy:.2%} are right"
        typer.echo(f"familiar            {result.kept:.2%}{right}")
    if result.others_refused is not None:
        typer.echo(
            f"neither             {result.others_refused:.2%} of {result.others} others are refused; AUROC "
            f"{result.others_auroc:.4f}"
        )
    typer.echo("answers, a row for each true class")
    width = max(len(name) for name in result.classes)
    for name, row in zip(result.classes, result.confusion, strict=True):
        typer.echo(f"  {name:<{width}} " + " ".join(f"{count:6d}" for count in row))
    if result.unreadable:
        typer.echo(f"{result.unreadable} pictures could not be read and were left out", err=True)
