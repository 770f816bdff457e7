"""Repeats the parity gate for a file that was published earlier."""

from pathlib import Path

from msgspec.structs import replace

from catsdogs_edge.errors import ParityError
from catsdogs_edge.model import selftest
from catsdogs_edge.model.classifier import Classifier
from catsdogs_edge.model.contract import Precision
from catsdogs_edge.runtime.providers import Provider
from catsdogs_export.convert import convert
from catsdogs_export.parity import Parity, run_parity
from catsdogs_export.predictors import KerasPredictor, ModelOnImages, Predictor, open_graph
from catsdogs_export.run_folder import RunFolder
from catsdogs_export.samples import LABELLED_IMAGES, SAME_IMAGES, require_validation_images, spread


def verify(file: Path, run_folder: Path, *, max_drop: float) -> Parity:
    """Compares an ONNX file with the Keras model of a run folder, on the images of the publication.

    A smaller precision is compared with its fp32, converted anew.

    Raises:
        DataError: The run folder cannot be used, or images of it are gone.
        ModelError: The file is not one of ours.
        ParityError: The file was changed, comes from another run, or does not answer like it.
    """
    classifier = Classifier.load(file, Provider.CPU, accept_all=True, allow_changed=True)
    run = RunFolder.load(run_folder)
    require_validation_images(run)
    if classifier.intact is False:
        raise ParityError(f"{file} was changed after it was published: its hash is another")
    found = classifier.contract
    expected = replace(run.contract, precision=found.precision, tools=found.tools, version=found.version)
    if expected.keras_sha256 != found.keras_sha256:
        raise ParityError(f"{file} was made from another Keras model than {run.model}")
    if other := [name for name in found.__struct_fields__ if getattr(found, name) != getattr(expected, name)]:
        raise ParityError(
            f"{file} and {run_folder} differ in {', '.join(other)}: check it against the run that it was made from"
        )
    outcome = selftest.run(classifier, file)
    if not outcome.passed:
        raise ParityError(f"{file} does not pass its own test: {outcome}")
    network = run.load_network()
    reference: Predictor = KerasPredictor(network, run.contract)
    is_fp32 = found.precision is Precision.FP32
    if not is_fp32:
        reference = open_graph(convert(network, run.contract).SerializeToString(), run.contract)
    images = spread(run.val, SAME_IMAGES if is_fp32 else LABELLED_IMAGES)
    return run_parity(ModelOnImages(reference, images), ModelOnImages(classifier, images), max_drop)
