"""Repeats the parity gate for a file that was published earlier."""

from dataclasses import dataclass, replace
from pathlib import Path

from catsdogs_edge import selftest
from catsdogs_edge.classifier import Classifier
from catsdogs_edge.contract import Contract, Precision
from catsdogs_edge.errors import ParityError
from catsdogs_edge.integrity import is_intact
from catsdogs_edge.providers import Provider
from catsdogs_export.convert import convert
from catsdogs_export.models import keras_model, onnx_model
from catsdogs_export.parity import (
    Loss,
    SameFiles,
    SameTensors,
    measure_loss,
    predict,
    same_files,
    same_tensors,
)
from catsdogs_export.publish import LABELLED_PICTURES, SAME_PICTURES, make_contract, spread
from catsdogs_export.run_folder import RunFolder


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
    """Level C, on the pictures of the publication, against fp32 converted anew."""


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
    runner = Classifier.load(file, Provider.CPU, accept_all=True)
    run = RunFolder.load(run_folder)
    if not is_intact(file, runner.metadata):
        raise ParityError(f"{file} was changed after it was published: its hash is another")
    contract = make_contract(run, runner.contract.precision)
    if contract.keras_sha256 != runner.contract.keras_sha256:
        raise ParityError(f"{file} was made from another Keras model than {run.model}")
    if replace(runner.contract, tools=contract.tools) != contract:
        raise ParityError(f"{file} says {runner.contract}, expected {contract}")
    outcome = selftest.run(runner, file)
    if not outcome.passed:
        raise ParityError(f"{file} does not pass its own test: {outcome}")
    network = run.load_network()
    if contract.precision is Precision.FP32:
        pictures = spread(run.val, SAME_PICTURES)
        reference = keras_model(network)
        return Checked(
            contract,
            same_tensors(reference, onnx_model(file, contract), pictures, run.image_size),
            same_files(reference, runner, pictures, run.classes),
        )
    pictures = spread(run.val, LABELLED_PICTURES)
    fp32 = onnx_model(convert(network, contract).SerializeToString(), contract)
    loss = measure_loss(
        predict(fp32, pictures, run.image_size),
        predict(onnx_model(file, contract), pictures, run.image_size),
        pictures,
        max_drop,
        contract,
    )
    if loss.why_not:
        raise ParityError(f"level C: {file} {loss.why_not}")
    return Checked(contract, loss=loss)
