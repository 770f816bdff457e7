"""The whole export: convert, check, quantize, check, and only then publish."""

import json
import logging
import zipfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TypeVar

import keras
import numpy as np

from catsdogs_edge.classifier import Classifier, Scores
from catsdogs_edge.contract import Contract, Precision
from catsdogs_edge.errors import DataError, ImageError
from catsdogs_edge.files import staged
from catsdogs_edge.folder import find_pictures
from catsdogs_edge.image import RgbBatch, read
from catsdogs_edge.providers import Provider
from catsdogs_export.convert import convert, save
from catsdogs_export.parity import Fp32Parity, Int8Parity, check_fp32, check_int8
from catsdogs_export.quantize import CALIBRATION_PICTURES, quantize
from catsdogs_export.run_folder import Picture, RunFolder

_log = logging.getLogger(__name__)

FP32_FILE = "model.onnx"
INT8_FILE = "model.int8.onnx"
PARITY_FILE = "parity.json"

_FP32_PICTURES = 32  # Keras takes 60 ms for each, and the tensors matter more than their number
_INT8_PICTURES = 500

_Item = TypeVar("_Item")


@dataclass(frozen=True, slots=True)
class Published:
    """What an export wrote, and how it was proven."""

    fp32: Fp32Parity
    """Keras against ONNX."""
    int8: Int8Parity | None
    """FP32 against INT8; None where no INT8 file was asked for."""
    calibration_pictures: int
    """Training pictures that set the INT8 ranges; 0 without INT8."""


def export(run: Path, out: Path, *, int8: bool = False, calibrate: Path | None = None) -> Published:
    """Exports a run folder to `model.onnx`, `model.int8.onnx` and `parity.json`.

    The files appear in `out` together, after all checks; when one fails, `out` stays as it was.

    Args:
        run: Folder that `catsdogs-train` wrote.
        out: Where to publish; made if it is missing.
        int8: Also write an INT8 file.
        calibrate: Folder of pictures to calibrate with; None takes the run's own training pictures.

    Raises:
        DataError: `run` is no run folder, or its pictures or those of `calibrate` cannot be used.
        ParityError: The exported models do not answer like the Keras model.
        OutputError: `out` cannot be written.
    """
    folder = RunFolder.load(run)
    network = _load_network(folder.model)
    contract = Contract(folder.classes, folder.image_size, Precision.FP32)
    calibration = _calibration_pictures(folder, calibrate) if int8 else []
    _require(folder.val)
    with staged(out) as stage:
        _log.info("converting to ONNX")
        save(convert(network, contract), stage / FP32_FILE)
        fp32_model = Classifier.load(stage / FP32_FILE, Provider.CPU)

        def keras_logits(batch: RgbBatch) -> Scores:
            return np.asarray(network(batch, training=False), np.float32)

        _log.info("comparing ONNX with Keras")
        fp32_parity = check_fp32(
            keras_logits, fp32_model.logits, _spread(folder.val, _FP32_PICTURES), folder.image_size
        )
        int8_parity = None
        if int8:
            _log.info("quantizing to INT8, calibrated on %d pictures", len(calibration))
            quantize(
                stage / FP32_FILE,
                stage / INT8_FILE,
                replace(contract, precision=Precision.INT8),
                calibration,
            )
            _log.info("comparing INT8 with FP32")
            int8_model = Classifier.load(stage / INT8_FILE, Provider.CPU)
            pictures = _spread(folder.val, _INT8_PICTURES)
            int8_parity = check_int8(fp32_model.logits, int8_model.logits, pictures, folder.image_size)
        published = Published(fp32_parity, int8_parity, len(calibration))
        _write_parity(stage / PARITY_FILE, published)
    return published


def _load_network(path: Path) -> keras.Model:
    try:
        return keras.saving.load_model(path, compile=False)
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} is not a model that Keras {keras.__version__} opens: {error}") from error


def _calibration_pictures(folder: RunFolder, calibrate: Path | None) -> list[Path]:
    """Chooses readable training pictures of all classes, never one that the model is judged by."""
    if calibrate is None:
        _require(folder.train)
        return [picture.path for picture in _spread(folder.train, CALIBRATION_PICTURES)]
    if not calibrate.is_dir():
        raise DataError(f"--calibrate {calibrate}: no such folder")
    judges = {picture.path for picture in folder.val}
    readable = []
    for path in _spread(list(find_pictures([calibrate])), CALIBRATION_PICTURES):
        if path.resolve() in judges:
            raise DataError(
                f"--calibrate {calibrate}: {path} is a validation picture of the run; a model calibrated on it "
                "would be judged by what it knows. Calibrate on training pictures"
            )
        try:
            read(path)
        except ImageError as error:
            _log.info("left out: %s: %s", path, error)
        else:
            readable.append(path)
    if not readable:
        raise DataError(f"--calibrate {calibrate}: no readable picture in it")
    return readable


def _require(pictures: Sequence[Picture]) -> None:
    """Refuses to work on a part of the run's pictures without saying so."""
    missing = [picture.path for picture in pictures if not picture.path.is_file()]
    if missing or not pictures:
        raise DataError(
            f"{len(missing)} of the run's {len(pictures)} pictures in split.csv are gone"
            + (f", such as {missing[0]}" if missing else "")
            + ": put them back, or train again",
        )


def _spread(items: Sequence[_Item], count: int) -> list[_Item]:
    """Takes so many items, evenly spread: pictures are listed class after class."""
    count = min(count, len(items))
    return [items[int(place)] for place in np.linspace(0, len(items) - 1, count)]


def _write_parity(path: Path, published: Published) -> None:
    report = {
        "version": 1,
        **asdict(published),
        "versions": {name: version(name) for name in ("catsdogs", "tensorflow", "keras", "tf2onnx", "onnx")},
    }
    path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
