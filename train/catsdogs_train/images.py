"""Finds the images of a training: those to learn from, those to judge by, and those that say what is neither."""

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from catsdogs_edge.errors import DataError
from catsdogs_edge.model.contract import NEITHER, has_neither, problems_of_classes
from catsdogs_train.data.download import download
from catsdogs_train.data.drop_list import DropList
from catsdogs_train.data.outliers import find_outliers
from catsdogs_train.data.rehearsal import extend_split
from catsdogs_train.data.split import ENOUGH, Quarantined, Sample, Sides, Split, make_split
from catsdogs_train.data.unlabelled import find_unlabelled
from catsdogs_train.run.earlier_run import EarlierRun, read_fingerprint
from catsdogs_train.run.report import few_images
from catsdogs_train.run.tables import check_not_learned, is_network_of_run, read_sides
from catsdogs_train.settings import Settings

_log = logging.getLogger(__name__)

_NAMED = 5  # excluded files that are named on the terminal


@dataclass(frozen=True, slots=True)
class TrainingImages:
    """The images of a training."""

    split: Split
    outliers: list[Sample]
    """Of neither."""
    unlabelled: list[Sample]
    other_folders: list[Path]
    """Where those of neither are."""


def find_training_images(settings: Settings, earlier: EarlierRun | None) -> TrainingImages:
    """Finds them, and says how many there are.

    `earlier` is the run of --from. Raises `DataError` where they cannot be used, or would judge what learned from them.
    """
    other_folders = _find_other_folders(settings, earlier)
    origin = _find_origin(settings)
    sides = read_sides(origin[1]) if origin else None
    before = sides or Sides()
    split = _make_split(settings, earlier, sides)
    names = ", ".join(split.classes)
    _log.info("%d images to train, %d to validate; classes: %s", len(split.train), len(split.val), names)
    if len(split.val) < ENOUGH:
        _log.warning("%s", few_images(len(split.val)))
    if origin:
        check_not_learned(*origin, before.learned, split.val)
    outliers: list[Sample] = []
    quarantine = list(split.quarantine)
    if other_folders:
        if has_neither(split.classes):
            raise DataError(f"there is a class '{NEITHER}', which --other would make another one of: leave that out")
        outliers, left_out = find_outliers(other_folders, [*split.train, *split.val], settings.seed)
        quarantine += left_out
        _log.info("%d images of neither", len(outliers))
    unlabelled: list[Sample] = []
    if settings.unlabelled:
        known = [*split.train, *outliers]
        unlabelled, left_out = find_unlabelled(settings.unlabelled, known, split.val, before.judged)
        quarantine += left_out
        _log.info("%d images without a label", len(unlabelled))
    _name_some(quarantine)
    if earlier and settings.other:
        _check_new(earlier, split, outliers)
    # Those of these tables have rows of their own
    listed = {sample.sha256 for sample in (*split.train, *split.val, *split.earlier_train, *split.earlier_val)}
    learned = (split.learned_hashes | before.learned).union(sample.sha256 for sample in (*outliers, *unlabelled))
    judged = split.judged_hashes | before.judged
    split = replace(
        split,
        quarantine=tuple(quarantine),
        learned_hashes=learned - listed,
        judged_hashes=judged - learned - listed,
    )
    return TrainingImages(split, outliers, unlabelled, other_folders)


def hash_samples(samples: Sequence[Sample]) -> str:
    """Returns one hash for images and their labels."""
    return hashlib.sha256(json.dumps([(sample.sha256, sample.label) for sample in samples]).encode()).hexdigest()


def _find_origin(settings: Settings) -> tuple[str, Path] | None:
    """Returns the option that names the run from which the network comes, and its folder; None where --from does."""
    if settings.teacher:
        return "--teacher", settings.teacher
    weights = Path(settings.weights).resolve()  # it may be a link to that of a run
    if not settings.from_run and is_network_of_run(weights):
        return "--weights", weights.parent
    return None


def _find_other_folders(settings: Settings, earlier: EarlierRun | None) -> list[Path]:
    """Returns the folders with images of neither, each once: the new one, and those of the earlier run."""
    new = [settings.other] if settings.other else []
    old = earlier.outlier_folders if earlier else []
    if gone := [folder for folder in old if not folder.is_dir()]:
        if not new:
            raise DataError(
                f"--from {settings.from_run} learned what is neither from {gone[0]}, which is gone: put it back, or "
                "give other images with --other"
            )
        _log.info("the earlier run's images of neither are gone: %s", gone[0])
    there = [*new, *(folder for folder in old if folder not in gone)]
    return list({folder.resolve(): folder for folder in there}.values())


def _make_split(settings: Settings, earlier: EarlierRun | None, sides: Sides | None) -> Split:
    """Finds the images, and divides them."""
    for option, folder in (("--other", settings.other), ("--unlabelled", settings.unlabelled)):
        if folder and not folder.is_dir():  # better to hear it now than after all images were looked at
            raise DataError(f"{option} {folder}: no such folder")
    data = [*(settings.data or ()), *([download(settings.dataset)] if settings.dataset else ())]
    drop = DropList.read(settings.drop) if settings.drop else None
    if earlier:
        only_other = settings.other is not None  # what is neither may be all that is new
        return extend_split(earlier.classes, earlier.read_split(), data, settings.seed, drop, may_lack=only_other)
    split = make_split(
        data,
        val=settings.val,
        train_size=settings.train_size,
        val_size=settings.val_size,
        seed=settings.seed,
        drop=drop,
        sides=sides,
    )
    for problem in problems_of_classes(split.classes):
        raise DataError(f"the data {problem}")
    return split


def _name_some(quarantine: Sequence[Quarantined]) -> None:
    """Names some of the files that are left out."""
    for item in quarantine[:_NAMED]:
        _log.info("left out: %s: %s", item.path, item.reason)
    if len(quarantine) > _NAMED:
        _log.info("left out: %d more; all are in quarantine.csv", len(quarantine) - _NAMED)


def _check_new(earlier: EarlierRun, split: Split, outliers: Sequence[Sample]) -> None:
    """Raises `DataError` where there is no image, neither of a class nor of neither, that the earlier run had not."""
    old = earlier.read_split()
    known = {sample.sha256 for sample in (*old.train, *old.val, *old.earlier_train, *old.earlier_val)}
    is_new = any(sample.sha256 not in known for sample in (*split.train, *split.val))
    if not is_new and read_fingerprint(earlier.folder).get("images of neither") == hash_samples(outliers):
        raise DataError("DATA and --other hold no image that the earlier run did not have: there is nothing to learn")
