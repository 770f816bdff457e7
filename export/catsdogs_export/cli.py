"""The command `catsdogs-export`.

TensorFlow is imported inside the call, so that `--help` answers at once.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from catsdogs_edge.command import run as run_command
from catsdogs_edge.command import tensorflow_quiet

if TYPE_CHECKING:
    from catsdogs_export.publish import Published

_app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


def main() -> None:
    """Entry point of `catsdogs-export`."""
    run_command(_app)


@_app.command(epilog="Example: catsdogs-export run --int8")
def _export(
    run: Annotated[Path, typer.Argument(help="Run folder that catsdogs-train wrote.")],
    *,
    int8: Annotated[bool, typer.Option("--int8", help="Also write model.int8.onnx.")] = False,
    out: Annotated[Path | None, typer.Option(help="Folder to publish in; else the run folder.")] = None,
    calibrate: Annotated[
        Path | None,
        typer.Option(help="With --int8: folder of pictures to calibrate on; else the run's training pictures."),
    ] = None,
) -> None:
    """Export a trained model to ONNX, and to INT8, and prove that it answers alike.

    Writes model.onnx, model.int8.onnx and parity.json. When a check fails, nothing is written.
    """
    if calibrate is not None and not int8:
        raise typer.BadParameter("only goes with --int8", param_hint="--calibrate")
    os.environ["KERAS_BACKEND"] = "tensorflow"  # whatever it was trained with: tf2onnx reads TensorFlow's graph
    with tensorflow_quiet():
        from catsdogs_export.publish import export  # noqa: PLC0415

    folder = out or run
    for line in _describe(export(run, folder, int8=int8, calibrate=calibrate)):
        typer.echo(line)
    typer.echo(f"Published in {folder}")


def _describe(published: "Published") -> list[str]:
    fp32, int8 = published.fp32, published.int8
    lines = [
        f"fp32 against Keras: largest difference of logits {fp32.max_logit_difference:.2g} on {fp32.tensors} tensors "
        f"(limit {fp32.limit:g})",
    ]
    if int8 is not None:
        lines.append(
            f"INT8 against fp32: same label on {int8.agreement:.2%} of {int8.pictures} validation pictures "
            f"(limit {int8.limit:.0%}); accuracy {int8.accuracy_int8:.2%}, fp32 {int8.accuracy_fp32:.2%}",
        )
    return lines
