"""The whole export: convert, check, quantize within the budget, check, and only then publish."""

import logging
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec
import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped, unused-ignore]
from msgspec.structs import replace

from catsdogs_edge.errors import ModelError, OutputError
from catsdogs_edge.model.classifier import Classifier
from catsdogs_edge.model.contract import CONTRACT_KEY, Contract, Precision
from catsdogs_edge.model.onnx_file import read_onnx_file
from catsdogs_edge.output.files import replace_folder, sha256
from catsdogs_edge.output.json_text import to_json
from catsdogs_edge.runtime.providers import Provider
from catsdogs_export.class_maps import Head, MapParity, compare_maps, record_maps
from catsdogs_export.convert import convert
from catsdogs_export.float_nodes import to_fp16
from catsdogs_export.gate import Predecessor, SourceDifference
from catsdogs_export.int8 import Quantizer
from catsdogs_export.int8_search import Search, search
from catsdogs_export.options import ExportOptions, Target
from catsdogs_export.parity import FileParity, LabelParity, TensorParity, run_parity
from catsdogs_export.plots import draw_parity
from catsdogs_export.predictors import KerasPredictor, ModelOnImages, Predictor
from catsdogs_export.run_folder import LabelledImage, RunFolder
from catsdogs_export.samples import LABELLED_IMAGES, SAME_IMAGES, calibration_images, require_validation_images, spread
from catsdogs_export.seal import write_sealed

_log = logging.getLogger(__name__)

FILES = {Precision.FP32: "model.onnx", Precision.FP16: "model.fp16.onnx", Precision.INT8: "model.int8.onnx"}
"""Names of the published models."""

OWN_FILES = frozenset({*FILES.values(), "parity.json", "parity.png"})
"""All that an export folder may hold."""


class Published(msgspec.Struct, frozen=True, kw_only=True):
    """What an export wrote, and how it was proven."""

    same_tensors: TensorParity | None
    same_files: FileParity | None
    fp16: LabelParity | None
    """Level C of the fp16 file; None where none was asked for."""
    int8: Search | None
    """Level C of the INT8 settings; None where none was asked for."""
    maps: dict[Precision, MapParity]
    """Of each file: whether the maps of where its answers come from fit the answers."""
    not_worse: dict[Precision, list[SourceDifference]]
    """Of each file, against the model that it is to replace, by source; empty where none was named."""
    calibration: tuple[str, ...]
    """Images that set the INT8 ranges."""
    seed: int


def export(run_folder: Path, out: Path, options: ExportOptions) -> Published:
    """Exports a run folder to ONNX files, `parity.json` and `parity.png` in a folder of their own.

    They take the place of an earlier export together, after all checks; when one fails, that stays. A
    precision that is not asked for again goes with the earlier export.

    Raises:
        DataError: The run folder, its images or those to calibrate on cannot be used.
        ParityError: An exported model does not answer like the Keras model, or is worse than the one to replace.
        OutputError: `out` cannot be written, or holds something else.
    """
    _check_ours(out)
    run = RunFolder.load(run_folder)
    target = options.target or Target.detect()
    if options.int8:
        target.check_here()
    network = run.load_network()
    calibration = calibration_images(run, options.calibrate, options.seed) if options.int8 else []
    require_validation_images(run)
    old = None
    if options.not_worse_than is not None:  # better to hear it now than after the conversion
        old = Predecessor(options.not_worse_than, run.contract.classes)
    _say_what_goes(out, options)
    labelled = spread(run.val, LABELLED_IMAGES if options.fp16 or options.int8 else SAME_IMAGES)
    with replace_folder(out, OWN_FILES) as staging:
        _log.info("converting to ONNX")
        model = convert(network, run.contract)
        head = Head.from_network(network)
        fp32 = ModelOnImages(_write(model, head, run.contract, staging), labelled)
        keras = ModelOnImages(KerasPredictor(network, run.contract), spread(run.val, SAME_IMAGES))
        same = run_parity(keras, fp32, options.max_drop)
        drawn: dict[str, ModelOnImages[Predictor]] = {"fp32": fp32}
        fp16 = int8 = None
        if options.fp16:
            fp16, drawn["fp16"] = _make_fp16(staging, fp32, model, head, options.max_drop)
        if options.int8:
            int8, drawn["INT8"] = _make_int8(staging, fp32, head, calibration, target, options.max_drop)
        written = _load_all(staging)
        not_worse = old.compare(written, run.val, options.max_drop) if old else {}
        if len(drawn) == 1:  # nothing to look at but Keras against fp32
            drawn = {"Keras": keras, **drawn}
        probabilities = {name: item.outputs.probabilities for name, item in drawn.items()}
        draw_parity(probabilities, [image.label for image in labelled], staging / "parity.png")
        published = Published(
            same_tensors=same.tensors,
            same_files=same.files,
            fp16=fp16,
            int8=int8,
            maps=_compare_maps(written, spread(run.val, SAME_IMAGES)),
            not_worse=not_worse,
            calibration=tuple(map(str, calibration)),
            seed=options.seed,
        )
        _write_report(staging, published, run.contract)
    return published


def _check_ours(out: Path) -> None:
    """Refuses a folder with a network of somebody else under one of our names: raises `OutputError`."""
    for path in (out / name for name in FILES.values()):
        try:
            is_ours = not path.exists() or CONTRACT_KEY in read_onnx_file(path).metadata
        except ModelError:
            is_ours = False
        if not is_ours:
            raise OutputError(f"{path} is no file of catsdogs-export: choose another folder, or move it away")


def _say_what_goes(out: Path, options: ExportOptions) -> None:
    """Says which files of an earlier export are not asked for again, and go with it."""
    wanted = {Precision.FP32: True, Precision.FP16: options.fp16, Precision.INT8: options.int8}
    for precision, name in FILES.items():
        if (out / name).exists() and not wanted[precision]:
            _log.info("not asked for again, so it goes with the earlier export: %s", out / name)


def _make_fp16(
    staging: Path, fp32: ModelOnImages[Classifier], model: onnx.ModelProto, head: Head, max_drop: float
) -> tuple[LabelParity | None, ModelOnImages[Classifier]]:
    """Writes the fp16 file; returns its level C, and its outputs. Raises `ParityError` where it differs too much."""
    contract = replace(fp32.model.contract, precision=Precision.FP16)
    fp16 = ModelOnImages(_write(to_fp16(model, contract), head, contract, staging), fp32.images)
    return run_parity(fp32, fp16, max_drop).labels, fp16


def _make_int8(
    staging: Path,
    fp32: ModelOnImages[Classifier],
    head: Head,
    calibration: Sequence[Path],
    target: Target,
    max_drop: float,
) -> tuple[Search, ModelOnImages[Classifier]]:
    """Writes the INT8 file of the best setting; returns what was tried, and the chosen one's outputs."""
    contract = fp32.model.contract
    _log.info("quantizing to INT8 for %s, calibrated on %d images", target.value, len(calibration))
    if target is not Target.detect():
        _log.info("this CPU is %s: its latencies say little about %s", Target.detect().value, target.value)
    with tempfile.TemporaryDirectory(dir=staging) as scratch, _temporary_files_in(scratch):
        quantizer = Quantizer(staging / FILES[Precision.FP32], Path(scratch), contract, calibration)
        best = Path(scratch, "best.onnx")
        result, chosen = search(quantizer, best, target, fp32, max_drop)
        model = onnx.load(best)
    _write(model, head, replace(contract, precision=Precision.INT8), staging)
    return result, chosen


def _write(model: onnx.ModelProto, head: Head, contract: Contract, folder: Path) -> Classifier:
    """Writes a model under the name of its precision; returns it as the edge opens it."""
    return write_sealed(model, contract, folder / FILES[contract.precision], record_maps(model, head, contract))


@contextmanager
def _temporary_files_in(folder: str) -> Iterator[None]:
    """Lets ONNX Runtime write its copies of a model, several times its size, where there is room for models."""
    before, tempfile.tempdir = tempfile.tempdir, folder
    try:
        yield
    except DecodeError as error:  # it does not look whether they were written
        raise OutputError(f"a copy of the model in {folder} is damaged: is the disk full?") from error
    finally:
        tempfile.tempdir = before


def _load_all(folder: Path) -> dict[Precision, Classifier]:
    """Opens the files that were written, as a device does."""
    return {
        precision: Classifier.load(folder / name, Provider.CPU)
        for precision, name in FILES.items()
        if (folder / name).exists()
    }


def _compare_maps(
    written: Mapping[Precision, Classifier], images: Sequence[LabelledImage]
) -> dict[Precision, MapParity]:
    """Checks the maps of all files."""
    fp32 = written[Precision.FP32]
    return {
        precision: compare_maps(model, images, None if model is fp32 else fp32) for precision, model in written.items()
    }


def _write_report(folder: Path, published: Published, contract: Contract) -> None:
    """Writes `parity.json`, with the hash of every file that is published beside it."""
    report = {
        "version": 1,
        "files": {path.name: sha256(path) for path in sorted(folder.iterdir())},
        "keras_sha256": contract.keras_sha256,
        "tools": contract.tools,
        **msgspec.to_builtins(published),
    }
    (folder / "parity.json").write_text(to_json(report, indent=2) + "\n", encoding="utf-8")
