"""Ties together, in `report.md`, what a run folder holds."""

import shlex
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from catsdogs_edge.evaluation.metrics import accuracy_interval, calibration_error, log_loss
from catsdogs_edge.model.scores import Scores, softmax
from catsdogs_edge.output.terminal import counted
from catsdogs_train.data.split import ENOUGH, Split
from catsdogs_train.network.familiarity import FamiliarityFit
from catsdogs_train.run.changes import Changes
from catsdogs_train.run.comparison import Comparison
from catsdogs_train.run.history import TrainingState
from catsdogs_train.settings import Settings

_PLOTS = {
    "curves.png": "How it went",
    "confusion.png": "What it takes for what",
    "reliability.png": "Whether it is as sure as it is right",
    "familiarity.png": "Whether it knows what it has never seen",
    "views.png": "What it was shown",
    "worst.png": "Where it is sure and wrong, and what speaks for that (worst.csv has all): look at the labels first",
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What is known once all is learned, beside the figures of the epochs."""

    familiarity: FamiliarityFit | None = None
    """The fitted familiarity; None where there is none."""
    comparison: Comparison | None = None
    """With the teacher; None where there is none."""
    changes: Changes | None = None
    """Against the earlier run; None where there is none."""
    train_probabilities: Scores | None = None
    """Of each training image, by an output layer that learned from the others, (N, C); None where that is not known."""


@dataclass(frozen=True, slots=True)
class ReportData:
    """What is told."""

    settings: Settings
    split: Split
    state: TrainingState
    """At least one epoch."""
    temperature: float
    """The divisor of the logits."""
    probabilities: Scores
    """Probabilities of the validation images with that temperature, shape (N, C)."""
    outcome: Outcome


def write_report(folder: Path, data: ReportData) -> None:
    """Writes `report.md` into a folder that holds the plots already."""
    plots = [f"\n## {title}\n\n![{title}]({name})" for name, title in _PLOTS.items() if (folder / name).exists()]
    text = "\n".join([*_figures(data), *_teacher(data), *_changes(data), *_images(data), *plots])
    (folder / "report.md").write_text(text + "\n", encoding="utf-8", errors="surrogateescape")


def _figures(data: ReportData) -> Iterator[str]:
    state, split = data.state, data.split
    best = state.history[state.best]
    truth = np.array([sample.label for sample in split.val], np.int64)
    hits = round(best.val_accuracy * len(truth))
    low, high = accuracy_interval(hits, len(truth))
    plain = softmax(state.best_logits)
    yield f"# A classifier for {', '.join(map(_plain, split.classes))}\n"
    yield f"Of epoch {best.epoch} ({best.stage.value}), the best of {len(state.history)}:\n"
    yield "| on the validation images | |"
    yield "|---|---|"
    yield f"| right answers | {hits} of {len(truth)}: {best.val_accuracy:.2%} (95 %: {low:.2%} to {high:.2%}) |"
    yield f"| log loss | {log_loss(data.probabilities, truth):.4f} nats (as trained: {log_loss(plain, truth):.4f}) |"
    error, before = calibration_error(data.probabilities, truth), calibration_error(plain, truth)
    yield f"| calibration error | {100 * error:.2f} points (as trained: {100 * before:.2f}) |"
    yield f"| temperature, fitted on them | {data.temperature:.3f} |"
    if familiarity := data.outcome.familiarity:
        judged = len(familiarity.outlier_scores)
        kept = int((familiarity.val_scores >= 0).sum())
        low, high = accuracy_interval(kept, len(truth))
        shown = f"{kept} of {len(truth)}: {kept / len(truth):.2%} (95 %: {low:.2%} to {high:.2%})"
        yield f"| familiar, so not taken for 'neither' | {shown}; target: {familiarity.target_recall:.2%} |"
        if familiarity.refused is not None:
            low, high = accuracy_interval(round(familiarity.refused * judged), judged)
            refused = f"{familiarity.refused:.2%} of {judged} (95 %: {low:.2%} to {high:.2%})"
            has_earlier = data.outcome.comparison or data.outcome.changes or data.settings.weights.endswith(".keras")
            known = ", unless the network had learned from it in an earlier run" if has_earlier else ""
            yield f"| images of neither that were refused, each by a judge that did not know it{known} | {refused} |"
    if len(truth) < ENOUGH:
        yield f"\n{few_images(len(truth))}"
    yield "\nThese images chose the epoch, the temperature and the threshold, so expect a little less on others."
    yield f"Next:\n\n    catsdogs-export {shlex.quote(str(data.settings.out))} --int8"


def _teacher(data: ReportData) -> Iterator[str]:
    comparison = data.outcome.comparison
    if comparison is None:
        return
    change = comparison.change
    before, after, count, (low, high) = change.before, change.after, change.images, change.interval
    differing = sum(1 for _ in comparison.differing())
    yield "\n## Beside its teacher\n"
    yield "| on the validation images | teacher | student |"
    yield "|---|---|---|"
    yield f"| right answers | {before} of {count}: {before / count:.2%} | {after} of {count}: {after / count:.2%} |"
    yield "| weights | {:,} | {:,} |".format(*comparison.parameters)
    yield f"| estimated time for an image, INT8 on a CPU | 1 | 1 / {comparison.speedup:.2f} |"
    yield (
        f"\n{comparison.drop:+.2f} points are lost (95 %, both asked about the same images: {low:+.2f} to {high:+.2f}; "
        f"limit {data.settings.largest_drop:g}). The two differ on {counted(differing, 'image')}: disagreements.csv "
        "names them."
    )


def _changes(data: ReportData) -> Iterator[str]:
    changes = data.outcome.changes
    if changes is None:
        return
    yield "\n## What changed against the earlier run\n"
    yield "| validation images of | images | right before | right now | fixed | broken | points lost (95 %) |"
    yield "|---|---|---|---|---|---|---|"
    for item in changes.by_source():
        low, high = item.interval
        counts = f"{item.images} | {item.before} | {item.after} | {item.fixed} | {item.broken}"
        yield f"| {_plain(item.source)} | {counts} | {low:+.2f} to {high:+.2f} |"
    yield "\nchanges.csv names the images that have another answer now. To publish it only if nothing is worse:"
    yield f"\n    catsdogs-export {shlex.quote(str(data.settings.out))} --int8 --not-worse-than OLD.onnx"


def few_images(count: int) -> str:
    """Says what so few validation images can show, and how many it takes to know more."""
    points = 100 * (1 - accuracy_interval(count, count)[0])
    return (
        f"{count} images to validate on are few: even if all answers are right, up to {points:.1f} % of other images "
        f"may get a wrong one. For a figure to about a point it takes {ENOUGH}."
    )


def _images(data: ReportData) -> Iterator[str]:
    split = data.split
    yield "\n## Images\n"
    yield "| class | to train | to validate |"
    yield "|---|---|---|"
    train, val = (Counter(sample.label for sample in part) for part in (split.train, split.val))
    for label, name in enumerate(split.classes):
        yield f"| {_plain(name)} | {train[label]} | {val[label]} |"
    if split.quarantine:
        yield f"\nLeft out: {counted(len(split.quarantine), 'file')}; quarantine.csv says why."


def _plain(name: str) -> str:
    """Writes the name of a folder, which may hold anything, so that Markdown shows it as it is."""
    return "".join(each if each.isalnum() or each in " -" else f"&#{ord(each)};" for each in name)
