"""Finds the INT8 file closest to fp32, if it loses no more accuracy than the budget allows."""

import logging
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from msgspec import Struct

from catsdogs_edge.errors import ParityError
from catsdogs_edge.model.classifier import Classifier
from catsdogs_export.int8 import Calibration, Quantizer, Setting
from catsdogs_export.options import Target
from catsdogs_export.parity import LabelParity, compare_labels, extremes
from catsdogs_export.predictors import ModelOnImages, open_graph

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
    """Inference of single images on this CPU, in milliseconds: the smallest of several medians.

    It is measured once for settings that have the same layers in float, which are equally fast.
    """


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
    attempts: list[_Attempt] = []

    def attempt(setting: Setting) -> LabelParity:
        file = path.with_name(f"trial-{len(attempts)}.onnx")
        quantizer.quantize(setting, file)
        model = ModelOnImages(open_graph(file, fp32.model.contract), fp32.images)
        loss = compare_labels(fp32, model, max_drop)
        _log.info("tried %s: %s", setting.describe(), loss.why_not or "good enough")
        attempts.append(_Attempt(setting, file, model, loss))
        return loss

    for calibration in Calibration:
        attempt(Setting(calibration, target))
    if all(item.loss.why_not for item in attempts):
        best = min(attempts, key=lambda item: _distance(item.loss))
        worst_first = quantizer.rank_layers(best.file)
        for count in sorted({max(1, int(share * len(worst_first))) for share in FLOAT_SHARES}):
            if not attempt(replace(best.setting, float_layers=tuple(worst_first[:count]))).why_not:
                break
    latencies = _measure_latencies(attempts)
    trials = [
        Trial(setting=item.setting, loss=item.loss, latency_ms=latencies[item.setting.float_layers])
        for item in attempts
    ]
    good = [index for index, trial in enumerate(trials) if not trial.loss.why_not]
    if not good:
        raise BudgetError(trials, max_drop)
    chosen = min(good, key=lambda index: _distance(trials[index].loss))
    attempts[chosen].file.replace(path)
    return Search(trials=tuple(trials), chosen=trials[chosen]), attempts[chosen].model


@dataclass(frozen=True, slots=True)
class _Attempt:
    setting: Setting
    file: Path
    model: ModelOnImages[Classifier]
    loss: LabelParity


def _distance(loss: LabelParity) -> tuple[float, float]:
    """Orders by how far from fp32: first by labels, then by logits."""
    return -loss.agreement, loss.mean_logit_difference


def _measure_latencies(attempts: Sequence[_Attempt]) -> dict[tuple[str, ...], float]:
    """Times one model for each choice of layers in float, in turns; the others of that choice are equally fast.

    Returns the smallest of the rounds' medians for each, in milliseconds.
    """
    models = {item.setting.float_layers: item.model.model for item in attempts}
    medians: dict[tuple[str, ...], list[float]] = {layers: [] for layers in models}
    for _ in range(_ROUNDS):
        for layers, model in models.items():
            image = extremes(model.contract.image_size)[-1:]
            seconds = []
            for _ in range(_RUNS):
                start = time.perf_counter()
                model.predict(image)
                seconds.append(time.perf_counter() - start)
            medians[layers].append(1000 * statistics.median(seconds))
    return {layers: min(values) for layers, values in medians.items()}
