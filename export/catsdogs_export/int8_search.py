"""Finds the INT8 file closest to fp32, if it loses no more accuracy than the budget allows."""

import logging
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from msgspec import Struct

from catsdogs_edge.errors import ParityError
from catsdogs_edge.images.decode import RgbBatch
from catsdogs_edge.model.classifier import Classifier
from catsdogs_export.int8 import Calibration, Quantizer, Setting
from catsdogs_export.options import Target
from catsdogs_export.parity import LabelParity, compare_labels, extremes
from catsdogs_export.predictors import ModelOnImages, Predictor, open_graph

_log = logging.getLogger(__name__)

FLOAT_SHARES = (1 / 12, 1 / 6, 1 / 4)
"""Shares of the convolutions that are left in float, the worst first, when no setting without is good enough.
No more than a quarter: what is left would hardly be an INT8 file."""

_ROUNDS = 5
_RUNS = 9


class Trial(Struct, frozen=True, kw_only=True):
    """One setting and what it gave."""

    setting: Setting
    loss: LabelParity
    """Parity against fp32 on labelled images."""
    latency_ms: float
    """Inference of single images on this CPU, in milliseconds: the smallest of several medians."""


class Search(Struct, frozen=True, kw_only=True):
    """What was tried, and what is published."""

    trials: tuple[Trial, ...]
    chosen: Trial


class BudgetError(ParityError):
    """No setting is within the budget; `trials` tells what was tried."""

    def __init__(self, trials: Sequence[Trial], max_drop: float) -> None:
        best = min(trials, key=lambda trial: _distance(trial.loss))
        super().__init__(
            f"level C: none of {len(trials)} INT8 settings is good enough; the best one, {best.setting.describe()}, "
            f"{best.loss.why_not}. Calibrate on other training images (--calibrate DIR), or allow more loss of "
            "accuracy (--max-drop)"
        )
        self.trials = tuple(trials)


def search(
    quantizer: Quantizer, path: Path, target: Target, fp32: ModelOnImages[Classifier], max_drop: float
) -> tuple[Search, ModelOnImages[Classifier]]:
    """Tries settings, leaves the file of the best one, and returns what was tried and that setting's model.

    Each calibration method is tried. Of those within the budget, which are equally fast, the one closest to fp32 wins.
    Only if none is, the layers that suffer most stay in float, more and more of them, until one is good enough. They
    are judged on labelled images that nothing was trained or calibrated on.

    Raises:
        BudgetError: No setting is within the budget.
    """
    contract = fp32.model.contract
    models: dict[Setting, ModelOnImages[Classifier]] = {}
    losses: dict[Setting, LabelParity] = {}
    files: dict[Setting, Path] = {}
    for setting in _settings(quantizer, target, losses, files):
        files[setting] = path.with_name(f"trial-{len(files)}.onnx")
        quantizer.quantize(setting, files[setting])
        models[setting] = ModelOnImages(open_graph(files[setting], contract), fp32.images)
        losses[setting] = compare_labels(fp32, models[setting], max_drop)
        _log.info("tried %s: %s", setting.describe(), losses[setting].why_not or "good enough")
    # Settings that share their layers in float are equally fast.
    sessions = {setting.float_layers: item.model for setting, item in models.items()}
    latencies = _measure_latencies(sessions, extremes(contract.image_size)[-1:])
    trials = [
        Trial(setting=setting, loss=loss, latency_ms=latencies[setting.float_layers])
        for setting, loss in losses.items()
    ]
    good = [trial for trial in trials if not trial.loss.why_not]
    if not good:
        raise BudgetError(trials, max_drop)
    chosen = min(good, key=lambda trial: _distance(trial.loss))
    files[chosen.setting].replace(path)
    return Search(trials=tuple(trials), chosen=chosen), models[chosen.setting]


def _distance(loss: LabelParity) -> tuple[float, float]:
    """Orders by how far from fp32: first by labels, then by logits."""
    return -loss.agreement, loss.mean_logit_difference


def _settings(
    quantizer: Quantizer, target: Target, losses: Mapping[Setting, LabelParity], files: Mapping[Setting, Path]
) -> Iterator[Setting]:
    """Yields what to try next, knowing what came of it so far."""
    for calibration in Calibration:
        yield Setting(calibration, target)
    if any(not loss.why_not for loss in losses.values()):
        return
    best = min(losses, key=lambda setting: _distance(losses[setting]))
    worst_first = quantizer.rank_layers(files[best])
    for count in sorted({max(1, int(share * len(worst_first))) for share in FLOAT_SHARES}):
        setting = replace(best, float_layers=tuple(worst_first[:count]))
        yield setting
        if not losses[setting].why_not:
            return


def _measure_latencies(models: Mapping[tuple[str, ...], Predictor], image: RgbBatch) -> dict[tuple[str, ...], float]:
    """Times the models in turns; returns the smallest of the rounds' medians for each, in milliseconds."""
    medians: dict[tuple[str, ...], list[float]] = {layers: [] for layers in models}
    for _ in range(_ROUNDS):
        for layers, model in models.items():
            seconds = []
            for _ in range(_RUNS):
                start = time.perf_counter()
                model.predict(image)
                seconds.append(time.perf_counter() - start)
            medians[layers].append(1000 * statistics.median(seconds))
    return {layers: min(values) for layers, values in medians.items()}
