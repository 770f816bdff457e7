"""Finds labelled pictures, leaves out those that cannot be read, and splits the rest."""

import logging
import random
from collections import defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from catsdogs_edge.errors import DataError, ImageError
from catsdogs_edge.image import read
from catsdogs_edge.pictures import find_labelled

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Sample:
    """One labelled picture."""

    path: Path
    """An image file."""
    label: int
    """Index of its class in `Split.classes`."""


@dataclass(frozen=True, slots=True)
class Split:
    """What to train on and what to judge by; no picture is in both."""

    classes: tuple[str, ...]
    """Folder names, sorted: the order of the output neurons."""
    train: tuple[Sample, ...]
    """Pictures to learn from."""
    val: tuple[Sample, ...]
    """Pictures to judge by."""
    unreadable: tuple[tuple[Path, str], ...]
    """Files that were left out, each with the reason."""


def make_split(data: Path, *, val: Path | None, train_size: int | None, val_size: int | None, seed: int) -> Split:
    """Draws the training and the validation pictures by lot, every class in its share.

    Args:
        data: Folder with one folder of pictures for each class.
        val: A folder of the same layout to validate on; None keeps a part of `data` for that.
        train_size: Number of training pictures; None takes all that are left.
        val_size: Number of validation pictures; None takes all of `val`, or a fifth of `data`.
        seed: The same seed and files give the same split.

    Raises:
        DataError: Fewer than two classes, a class without a readable picture, other classes in
            `val` than in `data`, a picture in both, or fewer pictures than asked for.
    """
    classes, samples, unreadable = _scan(data)
    if val is None:
        wanted = len(samples) // 5 if val_size is None else val_size
        val_samples = _draw(samples, wanted, seed, data)
        held_out = set(val_samples)
        samples = [sample for sample in samples if sample not in held_out]
    else:
        val_classes, val_samples, val_unreadable = _scan(val)
        if val_classes != classes:
            raise DataError(f"{val} has the classes {_names(val_classes)}, expected {_names(classes)} as in {data}")
        both = {sample.path.resolve() for sample in samples} & {sample.path.resolve() for sample in val_samples}
        if both:
            raise DataError(
                f"{len(both)} pictures are in {data} and in {val}, such as {min(both)}: a model judged by what it "
                "has learned looks better than it is",
            )
        unreadable += val_unreadable
        if val_size is not None:
            val_samples = _draw(val_samples, val_size, seed, val)
    if train_size is not None:
        samples = _draw(samples, train_size, seed, data)
    for part, folder, chosen in (("training", data, samples), ("validation", val or data, val_samples)):
        for label, name in enumerate(classes):
            if not any(sample.label == label for sample in chosen):
                raise DataError(f"no {part} picture of class '{name}' is left from {folder}: add some, or ask for more")
    return Split(classes, tuple(samples), tuple(val_samples), tuple(unreadable))


def _scan(root: Path) -> tuple[tuple[str, ...], list[Sample], list[tuple[Path, str]]]:
    """Finds the classes and the readable pictures of a folder."""
    classes, labelled = find_labelled(root)
    found = [Sample(path, label) for path, label in labelled]
    _log.info("reading %d pictures of %s", len(found), root)
    # Everything is decoded once: better a list of bad files now than a crash in the third epoch.
    with ThreadPoolExecutor() as pool:
        problems = list(pool.map(_problem, found))
    samples = [sample for sample, problem in zip(found, problems, strict=True) if not problem]
    unreadable = [(sample.path, problem) for sample, problem in zip(found, problems, strict=True) if problem]
    for label, name in enumerate(classes):
        if not any(sample.label == label for sample in samples):
            raise DataError(f"{root / name} holds no readable picture")
    return classes, samples, unreadable


def _problem(sample: Sample) -> str:
    try:
        read(sample.path)
    except ImageError as error:
        return str(error)
    return ""


def _draw(samples: Sequence[Sample], count: int, seed: int, origin: Path) -> list[Sample]:
    """Draws so many samples by lot, every class in its share of the whole."""
    if count > len(samples):
        raise DataError(f"{count} pictures were asked for, {origin} has {len(samples)} readable ones to draw from")
    by_label: dict[int, list[Sample]] = defaultdict(list)
    for sample in samples:
        by_label[sample.label].append(sample)
    generator = random.Random(seed)  # noqa: S311 - no secret
    ranked = []
    for group in by_label.values():
        generator.shuffle(group)
        # Places from 0 to 1 in each class: cutting off the lowest keeps every class in its share.
        ranked += [((place + 0.5) / len(group), sample) for place, sample in enumerate(group)]
    ranked.sort(key=lambda entry: (entry[0], entry[1].label))
    return [sample for _, sample in ranked[:count]]


def _names(names: Iterable[str]) -> str:
    return "(" + ", ".join(names) + ")"
