"""The whole export: convert, check, quantize within the budget, check, and only then publish."""

import json
import logging
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TypeVar

import numpy as np
import onnx

from catsdogs_edge.classifier import Classifier
from catsdogs_edge.contract import Contract, Precision
from catsdogs_edge.cpu import Target
from catsdogs_edge.errors import DataError, ImageError, ParityError
from catsdogs_edge.files import swapped
from catsdogs_edge.image import read
from catsdogs_edge.pictures import find_pictures
from catsdogs_edge.providers import Provider
from catsdogs_export.budget import Search, search
from catsdogs_export.convert import convert
from catsdogs_export.finish import finish
from catsdogs_export.half import to_fp16
from catsdogs_export.models import Answers, keras_model, onnx_model
from catsdogs_export.parity import (
    Loss,
    SameFiles,
    SameTensors,
    measure_loss,
    predict,
    same_files,
    same_tensors,
)
from catsdogs_export.plots import draw_parity
from catsdogs_export.quantize import Quantizer
from catsdogs_export.run_folder import Picture, RunFolder, sha256

_log = logging.getLogger(__name__)

FILES = {Precision.FP32: "model.onnx", Precision.FP16: "model.fp16.onnx", Precision.INT8: "model.int8.onnx"}
"""Names of the published models."""

OWN_FILES = frozenset({*FILES.values(), "parity.json", "parity.png"})
"""All that an export folder may hold."""

SAME_PICTURES = 64
"""Of levels A and B: Keras takes 60 ms for each, and what they find shows on every picture."""

LABELLED_PICTURES = 2000
"""Of level C: one label is then 0.05 points."""

CALIBRATION_PICTURES = 128
"""Enough for stable ranges."""

_Item = TypeVar("_Item")


@dataclass(frozen=True, slots=True)
class Request:
    """What the user asked for."""

    run: Path
    """Folder that `catsdogs-train` wrote."""
    out: Path
    """Folder to publish in, of its own."""
    int8: bool = False
    """Also write an INT8 file."""
    fp16: bool = False
    """Also write an fp16 file."""
    calibrate: Path | None = None
    """Pictures to calibrate with; None takes the run's own training pictures."""
    max_drop: float = 0.3
    """Accuracy that INT8 and fp16 may lose, in percentage points."""
    target: Target | None = None
    """The kind of CPU that INT8 is for; None takes this machine's."""
    seed: int = 0
    """Of the choice of calibration pictures."""


@dataclass(frozen=True, slots=True)
class Published:
    """What an export wrote, and how it was proven."""

    same_tensors: SameTensors
    """Level A."""
    same_files: SameFiles
    """Level B."""
    fp16: Loss | None
    """Level C of the fp16 file; None where none was asked for."""
    int8: Search | None
    """Level C of the INT8 settings; None where none was asked for."""
    calibration: tuple[str, ...]
    """Pictures that set the INT8 ranges."""
    seed: int
    """Of their choice."""


def export(request: Request) -> Published:
    """Exports a run folder to ONNX files, `parity.json` and `parity.png`.

    They take the place of an earlier export together, after all checks; when one fails, that stays. A
    precision that is not asked for again goes with the earlier export.

    Raises:
        DataError: The run folder, its pictures or those to calibrate on cannot be used.
        ParityError: An exported model does not answer like the Keras model.
        OutputError: `request.out` cannot be written, or holds something else.
    """
    run = RunFolder.load(request.run)
    network = run.load_network()
    contract = make_contract(run, Precision.FP32)
    calibration = _calibration_pictures(run, request) if request.int8 else []
    _require(run.val)
    wanted = {Precision.FP32: True, Precision.FP16: request.fp16, Precision.INT8: request.int8}
    for precision, name in FILES.items():
        if (request.out / name).exists() and not wanted[precision]:
            _log.info("not asked for again, so it goes with the earlier export: %s", request.out / name)
    pictures, labelled = spread(run.val, SAME_PICTURES), spread(run.val, LABELLED_PICTURES)
    with swapped(request.out, OWN_FILES) as stage:
        _log.info("converting to ONNX")
        onnx.save(convert(network, contract), stage / FILES[Precision.FP32])
        finish(stage / FILES[Precision.FP32], contract)
        fp32 = stage / FILES[Precision.FP32]
        runner = Classifier.load(fp32, Provider.CPU, accept_all=True)
        reference, exported = keras_model(network), onnx_model(fp32, contract)
        _log.info("level A: same tensors")
        tensors = same_tensors(reference, exported, pictures, run.image_size)
        _log.info("level B: same files")
        files = same_files(reference, runner, pictures, run.classes)
        fp16 = int8 = None
        if request.fp16 or request.int8:
            _log.info("level C: labelled pictures, %d of them", len(labelled))
            drawn = {"fp32": predict(exported, labelled, run.image_size)}
            if request.fp16:
                fp16, drawn["fp16"] = _make_fp16(stage, contract, drawn["fp32"], labelled, request.max_drop)
            if request.int8:
                int8, drawn["INT8"] = _make_int8(stage, contract, drawn["fp32"], labelled, calibration, request)
        else:  # nothing to look at but Keras against fp32
            labelled = pictures
            drawn = {
                "Keras": predict(reference, pictures, run.image_size),
                "fp32": predict(exported, pictures, run.image_size),
            }
        draw_parity(
            {name: answers.logits for name, answers in drawn.items()},
            [picture.label for picture in labelled],
            stage / "parity.png",
        )
        published = Published(tensors, files, fp16, int8, tuple(map(str, calibration)), request.seed)
        _write_report(stage, published, contract)
    return published


def _make_fp16(
    stage: Path, contract: Contract, fp32: Answers, labelled: Sequence[Picture], max_drop: float
) -> tuple[Loss, Answers]:
    """Writes the fp16 file; gives its level C and its answers."""
    path = stage / FILES[Precision.FP16]
    to_fp16(stage / FILES[Precision.FP32], path, contract)
    finish(path, replace(contract, precision=Precision.FP16))
    answers = predict(onnx_model(path, contract), labelled, contract.image_size)
    loss = measure_loss(fp32, answers, labelled, max_drop, contract)
    if loss.why_not:
        raise ParityError(f"level C: fp16 {loss.why_not}")
    return loss, answers


def _make_int8(
    stage: Path,
    contract: Contract,
    fp32: Answers,
    labelled: Sequence[Picture],
    calibration: Sequence[Path],
    request: Request,
) -> tuple[Search, Answers]:
    """Writes the INT8 file of the best setting; gives what was tried and its answers."""
    path = stage / FILES[Precision.INT8]
    target = request.target or Target.this()
    _log.info("quantizing to INT8 for %s, calibrated on %d pictures", target.value, len(calibration))
    if target is not Target.this():
        _log.info("this CPU is %s: its latencies say little about %s", Target.this().value, target.value)
    with tempfile.TemporaryDirectory(dir=stage) as scratch:
        quantizer = Quantizer(stage / FILES[Precision.FP32], Path(scratch), contract, calibration)
        best = Path(scratch, "best.onnx")
        result, answers = search(quantizer, best, contract, target, fp32, labelled, request.max_drop)
        best.replace(path)
    finish(path, replace(contract, precision=Precision.INT8))
    return result, answers


def make_contract(run: RunFolder, precision: Precision) -> Contract:
    """Says what the files of a run are."""
    packages = ("catsdogs", "tensorflow", "keras", "tf2onnx", "onnx", "onnxruntime")
    return Contract(
        run.classes,
        run.image_size,
        precision,
        run.model_sha256,
        run.training,
        {name: version(name) for name in packages},
        run.temperature,
        familiarity=run.familiarity,
    )


def spread(items: Sequence[_Item], count: int) -> list[_Item]:
    """Takes so many items, evenly spread: pictures are listed class after class."""
    count = min(count, len(items))
    return [items[int(place)] for place in np.linspace(0, len(items) - 1, count)]


def _calibration_pictures(run: RunFolder, request: Request) -> list[Path]:
    """Draws readable pictures by lot, never one that the model is judged by."""
    random = np.random.default_rng(request.seed)
    if request.calibrate is None:
        _require(run.train)
        candidates = [picture.path for picture in run.train]
    else:
        if not request.calibrate.is_dir():
            raise DataError(f"--calibrate {request.calibrate}: no such folder")
        candidates = list(find_pictures([request.calibrate]))
    judges = {sha256(picture.path) for picture in run.val if picture.path.is_file()}
    chosen: list[Path] = []
    for place in random.permutation(len(candidates)):
        path = candidates[place]
        try:
            read(path)
        except ImageError as error:
            _log.info("left out: %s: %s", path, error)
            continue
        if sha256(path) in judges:
            if request.calibrate is not None:
                raise DataError(
                    f"{path} is a validation picture of the run: a model calibrated on it would be judged by what it "
                    "knows; calibrate on training pictures",
                )
            _log.info("left out: %s: the same picture is among those to validate on", path)
            continue
        chosen.append(path)
        if len(chosen) == CALIBRATION_PICTURES:
            break
    if not chosen:
        raise DataError(f"no readable picture to calibrate on in {request.calibrate or request.run}")
    return chosen


def _require(pictures: Sequence[Picture]) -> None:
    """Refuses to work on a part of the run's pictures without saying so."""
    missing = [picture.path for picture in pictures if not picture.path.is_file()]
    if missing or not pictures:
        raise DataError(
            f"{len(missing)} of the run's {len(pictures)} pictures in split.csv are gone"
            + (f", such as {missing[0]}" if missing else "")
            + ": put them back, or train again",
        )


def _write_report(folder: Path, published: Published, contract: Contract) -> None:
    """Writes `parity.json`, with the hash of every file that is published beside it."""
    report = {
        "version": 1,
        "files": {path.name: sha256(path) for path in sorted(folder.iterdir())},
        "keras_sha256": contract.keras_sha256,
        "tools": contract.tools,
        **asdict(published),
    }
    (folder / "parity.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
