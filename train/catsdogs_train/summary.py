"""Ties together, in `report.md`, what a run folder holds."""

import shlex
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from catsdogs_edge.metrics import accuracy_interval, calibration_error, log_loss
from catsdogs_edge.scores import Scores, softmax
from catsdogs_train.checkpoint import Standing
from catsdogs_train.dataset import Split
from catsdogs_train.others import Learned
from catsdogs_train.settings import Settings

_PLOTS = {
    "curves.png": "How it went",
    "confusion.png": "What it takes for what",
    "reliability.png": "Whether it is as sure as it is right",
    "familiarity.png": "Whether it knows what it has never seen",
    "views.png": "What it was shown",
    "worst.png": "Where it is sure and wrong (all of them are in worst.csv): look at the labels first",
}


@dataclass(frozen=True, slots=True)
class Summary:
    """What is told."""

    settings: Settings
    """What was asked for."""
    split: Split
    """The pictures."""
    standing: Standing
    """At least one epoch."""
    temperature: float
    """What the logits are divided by."""
    probabilities: Scores
    """Of the validation pictures, with that temperature, shape (N, C)."""
    learned: Learned | None
    """How pictures of neither are told from them."""


def write_summary(folder: Path, summary: Summary) -> None:
    """Writes `report.md`.

    Args:
        folder: Holds the plots already.
        summary: What to tell.
    """
    plots = [f"\n## {title}\n\n![{title}]({name})" for name, title in _PLOTS.items() if (folder / name).exists()]
    text = "\n".join([*_figures(summary), *_pictures(summary), *plots])
    (folder / "report.md").write_text(text + "\n", encoding="utf-8", errors="surrogateescape")


def _figures(summary: Summary) -> Iterator[str]:
    standing, split = summary.standing, summary.split
    best = standing.history[standing.best]
    truth = np.array([sample.label for sample in split.val], np.int64)
    hits = round(best.val_accuracy * len(truth))
    low, high = accuracy_interval(hits, len(truth))
    plain = softmax(standing.best_logits)
    yield f"# A classifier for {', '.join(map(_plain, split.classes))}\n"
    yield f"Of epoch {best.epoch} ({best.stage.value}), the best of {len(standing.history)}:\n"
    yield "| on the validation pictures | |"
    yield "|---|---|"
    yield f"| right answers | {hits} of {len(truth)}: {best.val_accuracy:.2%} (95 %: {low:.2%} to {high:.2%}) |"
    yield f"| log loss | {log_loss(summary.probabilities, truth):.4f} nats (as trained: {log_loss(plain, truth):.4f}) |"
    error, before = calibration_error(summary.probabilities, truth), calibration_error(plain, truth)
    yield f"| calibration error | {100 * error:.2f} points (as trained: {100 * before:.2f}) |"
    yield f"| temperature, fitted on them | {summary.temperature:.3f} |"
    if summary.learned:
        kept = float((summary.learned.val_scores >= 0).mean())
        yield f"| familiar, so not taken for 'neither' | {kept:.2%} (promise: {summary.learned.keep:.2%}) |"
        if summary.learned.refused is not None:
            refused = f"{summary.learned.refused:.2%} of {summary.learned.others}"
            yield f"| pictures of neither that were refused, each by a judge that did not know it | {refused} |"
    yield "\nThese pictures chose the epoch, the temperature and the threshold, so expect a little less on others."
    yield f"Next:\n\n    catsdogs-export {shlex.quote(str(summary.settings.out))} --int8"


def _pictures(summary: Summary) -> Iterator[str]:
    split = summary.split
    yield "\n## Pictures\n"
    yield "| class | to train | to validate |"
    yield "|---|---|---|"
    train, val = (Counter(sample.label for sample in part) for part in (split.train, split.val))
    for label, name in enumerate(split.classes):
        yield f"| {_plain(name)} | {train[label]} | {val[label]} |"
    if split.quarantine:
        yield f"\n{len(split.quarantine)} files were left out; quarantine.csv says why."


def _plain(name: str) -> str:
    """Writes the name of a folder, which may hold anything, so that Markdown shows it as it is."""
    return "".join(sign if sign.isalnum() or sign in " -" else f"&#{ord(sign)};" for sign in name)
