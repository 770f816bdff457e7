"""Finds the fastest INT8 file that loses no more accuracy than the budget allows."""

import logging
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import onnxruntime as ort

from catsdogs_edge.classifier import Scores
from catsdogs_edge.contract import Contract
from catsdogs_edge.cpu import Target
from catsdogs_edge.errors import ParityError
from catsdogs_export.parity import Loss, extremes, measure_loss, predict
from catsdogs_export.quantize import Calibration, Quantizer, Setting
from catsdogs_export.run_folder import Picture

_log = logging.getLogger(__name__)

FLOAT_SHARES = (1 / 12, 1 / 6, 1 / 4)
"""Shares of the convolutions that are left in float, the worst first, when no setting without is good enough.
No more than a quarter: what is left would hardly be an INT8 file."""

_AS_FAST = 1.05  # two latencies closer than that are the same, as far as can be measured here
_RUNS = 25


@dataclass(frozen=True, slots=True)
class Trial:
    """One setting and what it gave."""

    setting: Setting
    """How it was quantized."""
    loss: Loss
    """Against fp32, on labelled pictures."""
    latency_ms: float
    """Median of single pictures on this CPU, inference alone."""


@dataclass(frozen=True, slots=True)
class Search:
    """What was tried, and what is published."""

    trials: tuple[Trial, ...]
    """In the order they were made."""
    chosen: Trial
    """One of them."""


class BudgetError(ParityError):
    """No setting is within the budget; `trials` tells what was tried."""

    def __init__(self, trials: Sequence[Trial], max_drop: float) -> None:
        best = min(trials, key=lambda trial: trial.loss.drop)
        super().__init__(
            f"level C: none of {len(trials)} INT8 settings is good enough; the best one, {best.setting.describe()}, "
            f"{best.loss.why_not}. Calibrate on other training pictures (--calibrate DIR), or allow more (--max-drop)",
        )
        self.trials = tuple(trials)
        """In the order they were made."""


def search(
    quantizer: Quantizer,
    path: Path,
    contract: Contract,
    target: Target,
    fp32: Scores,
    pictures: Sequence[Picture],
    max_drop: float,
) -> Search:
    """Tries settings and leaves the file of the best one.

    Each calibration method is tried. Of those within the budget the fastest wins, and of those as
    fast (within 5 %) the one closest to fp32. Only if none is within the budget, the layers that suffer
    most stay in float, more and more of them.

    Args:
        quantizer: Of the fp32 model.
        path: The INT8 file to write, without contract.
        contract: Of the fp32 model.
        target: The kind of CPU it is for.
        fp32: Logits of the fp32 model for `pictures`, shape (N, C).
        pictures: Labelled pictures that nothing was trained or calibrated on.
        max_drop: Accuracy that may be lost, in percentage points.

    Raises:
        BudgetError: No setting is within the budget.
    """
    trials: list[Trial] = []
    files: dict[Setting, Path] = {}
    for setting in _settings(quantizer, target, trials, files):
        files[setting] = path.with_name(f"trial-{len(trials)}.onnx")
        quantizer.quantize(setting, files[setting])
        trial = _try(setting, files[setting], contract, fp32, pictures, max_drop)
        _log.info("tried %s: %s", setting.describe(), trial.loss.why_not or "good enough")
        trials.append(trial)
    good = [trial for trial in trials if not trial.loss.why_not]
    if not good:
        raise BudgetError(trials, max_drop)
    fastest = min(trial.latency_ms for trial in good)
    as_fast = [trial for trial in good if trial.latency_ms <= _AS_FAST * fastest]
    chosen = min(as_fast, key=lambda trial: (trial.loss.drop, trial.loss.mean_logit_difference))
    files[chosen.setting].replace(path)
    return Search(tuple(trials), chosen)


def _settings(
    quantizer: Quantizer, target: Target, trials: Sequence[Trial], files: dict[Setting, Path]
) -> Iterator[Setting]:
    """Gives what to try next, knowing what came of it so far."""
    for calibration in Calibration:
        yield Setting(calibration, target)
    if any(not trial.loss.why_not for trial in trials):
        return
    best = min(trials, key=lambda trial: (trial.loss.drop, trial.loss.mean_logit_difference)).setting
    worst_first = quantizer.rank_layers(files[best])
    for count in sorted({max(1, int(share * len(worst_first))) for share in FLOAT_SHARES}):
        yield replace(best, float_layers=tuple(worst_first[:count]))
        if not trials[-1].loss.why_not:
            return


def _try(
    setting: Setting, path: Path, contract: Contract, fp32: Scores, pictures: Sequence[Picture], max_drop: float
) -> Trial:
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])

    def logits(batch: object) -> Scores:
        (result,) = session.run([contract.logits_name], {contract.input_name: batch})
        scores: Scores = result
        return scores

    loss = measure_loss(fp32, predict(logits, pictures, contract.image_size), pictures, max_drop)
    picture = extremes(contract.image_size)[-1:]
    seconds = []
    for _ in range(_RUNS):
        start = time.perf_counter()
        logits(picture)
        seconds.append(time.perf_counter() - start)
    return Trial(setting, loss, 1000 * statistics.median(seconds))
