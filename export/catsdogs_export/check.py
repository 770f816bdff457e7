"""Repeats the parity gate for a file that was published earlier."""

from dataclasses import dataclass
from pathlib import Path

from catsdogs_edge.classifier import Classifier
from catsdogs_edge.contract import Contract, Precision
from catsdogs_edge.errors import ParityError
from catsdogs_edge.integrity import is_intact
from catsdogs_edge.providers import Provider
from catsdogs_export.parity import (
    Loss,
    SameFiles,
    SameTensors,
    measure_loss,
    predict,
    same_files,
    same_tensors,
)
from catsdogs_export.publish import SAME_PICTURES, keras_model, spread
from catsdogs_export.run_folder import RunFolder

LABELLED_PICTURES = 500
"""Of level C, against Keras, which takes 60 ms for each."""


@dataclass(frozen=True, slots=True)
class Checked:
    """What a check found; levels A and B are for fp32, level C for the rest."""

    contract: Contract
    """Of the file."""
    same_tensors: SameTensors | None = None
    """Level A."""
    same_files: SameFiles | None = None
    """Level B."""
    loss: Loss | None = None
    """Level C, with Keras in the place of fp32."""


def check(file: Path, run_folder: Path, *, max_drop: float) -> Checked:
    """Compares an ONNX file with the Keras model of a run folder.

    Args:
        file: From `export`.
        run_folder: The run that it was made from.
        max_drop: Accuracy that may be lost, in percentage points.

    Raises:
        DataError: The run folder cannot be used.
        ModelError: The file is not one of ours.
        ParityError: The file was changed, comes from another run, or does not answer like it.
    """
    runner = Classifier.load(file, Provider.CPU)
    run = RunFolder.load(run_folder)
    if not is_intact(file, runner.metadata):
        raise ParityError(f"{file} was changed after it was published: its hash is another")
    if runner.contract.keras_sha256 != run.model_sha256:
        raise ParityError(f"{file} was made from another Keras model than {run.model}")
    logits = keras_model(run.load_network())
    if runner.contract.precision is Precision.FP32:
        pictures = spread(run.val, SAME_PICTURES)
        return Checked(
            runner.contract,
            same_tensors(logits, runner.logits, pictures, run.image_size),
            same_files(logits, runner, pictures),
        )
    pictures = spread(run.val, LABELLED_PICTURES)
    loss = measure_loss(
        predict(logits, pictures, run.image_size),
        predict(runner.logits, pictures, run.image_size),
        pictures,
        max_drop,
    )
    if loss.why_not:
        raise ParityError(f"level C: {file} {loss.why_not}")
    return Checked(runner.contract, loss=loss)
