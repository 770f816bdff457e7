"""Trains a classifier: looks at the images, and goes through the stages that are asked for."""

import hashlib
import json
import logging
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from enum import Enum, auto
from importlib.metadata import version
from pathlib import Path
from typing import Any

import keras

from catsdogs_edge.errors import CatsDogsError, DataError, OutputError
from catsdogs_edge.model.contract import NEITHER, has_neither, problems_of_classes
from catsdogs_edge.output.files import check_writable
from catsdogs_train.backend import set_up_keras
from catsdogs_train.data.download import download
from catsdogs_train.data.drop_list import DropList
from catsdogs_train.data.outliers import exclude_held_out, find_outliers
from catsdogs_train.data.rehearsal import extend_split
from catsdogs_train.data.split import ENOUGH, Sample, Sides, Split, make_split
from catsdogs_train.data.unlabelled import find_unlabelled
from catsdogs_train.network.device_batches import choose_views_on
from catsdogs_train.network.distribution import Distribution, assemble
from catsdogs_train.network.precision import choose_dtype
from catsdogs_train.network.resnet import check_weights
from catsdogs_train.run.checkpoint import Checkpoint, check_same
from catsdogs_train.run.earlier_run import EarlierRun, has_ended, read_best, read_earlier, read_fingerprint
from catsdogs_train.run.history import Epoch
from catsdogs_train.run.lock import lock_run_folder
from catsdogs_train.run.report import few_images
from catsdogs_train.run.run_folder import RunFolderWriter
from catsdogs_train.run.tables import check_not_learned, is_network_of_run, read_sides
from catsdogs_train.run.tensorboard import check_tensorboard
from catsdogs_train.settings import Settings
from catsdogs_train.stages.context import Prepared, TrainingContext
from catsdogs_train.stages.distillation import prepare_student
from catsdogs_train.stages.error_messages import readable_errors
from catsdogs_train.stages.training import run_stages

_log = logging.getLogger(__name__)

_NAMED = 5  # excluded files that are named on the terminal


def train(settings: Settings) -> Epoch:
    """Trains a classifier, writes its run folder, and returns the figures of the best epoch.

    After every epoch, what it takes to go on is in `RUN/checkpoint`, which is removed at the end.

    Raises:
        DataError: The images or the weights cannot be used, or what is to be resumed is another training.
        OutputError: `settings.out` holds a run already, is in use by another process, or cannot be written.
        MemoryShortageError: A batch does not fit into memory.
    """
    run = settings.from_run or settings.teacher
    earlier = read_earlier(run, "--from" if settings.from_run else "--teacher") if run else None
    settings = _take_over(settings, earlier)
    check_writable(settings.out)  # better to hear it now than after the first epoch
    if not settings.teacher:
        check_weights(settings.weights)
    if settings.tensorboard:
        check_tensorboard()
    set_up_keras(settings.seed)
    distribution = assemble(settings.devices)
    with lock_run_folder(settings.out) if distribution.is_chief else nullcontext():
        try:
            return _train(settings, earlier, distribution)
        except (RuntimeError, ValueError) as error:
            if not distribution.is_peer_failure(error):
                raise
            raise DataError(
                "another host has ended, or cannot be reached: see what it says, and start all again with --resume"
            ) from error


def _take_over(settings: Settings, earlier: EarlierRun | None) -> Settings:
    """Takes over from an earlier run its image size, unless one is given, and for --from its network."""
    if not earlier:
        return settings
    size = settings.image_size or earlier.image_size
    if not settings.from_run:
        return replace(settings, image_size=size)
    if size != earlier.image_size:
        raise DataError(
            f"--image-size {size}, but {earlier.folder} has {earlier.image_size} pixels, which stay: leave it out"
        )
    return replace(settings, image_size=size, weights=str(earlier.model))


def _train(settings: Settings, earlier_run: EarlierRun | None, distribution: Distribution) -> Epoch:
    checkpoint = Checkpoint(settings.out)
    try:
        plan = _prepare(settings, earlier_run, checkpoint, distribution)
    except CatsDogsError:
        distribution.all_equal(b"")  # the others wait for what this host has to say
        raise
    if not distribution.all_equal(json.dumps([plan.fingerprint, plan.is_done]).encode()):
        raise DataError("the hosts do not see the same: give each the same options, images and weights")
    if plan.is_done:
        best = read_best(settings.out, plan.fingerprint)
        if distribution.is_chief:
            checkpoint.remove()  # what is left of it, if that was killed
        _log.info("%s is done already", settings.out)
        return best
    prepared = plan.prepared
    run = RunFolderWriter(settings, prepared.split, prepared.precision, plan.fingerprint, prepared.other_folders)
    with distribution.scope():
        with readable_errors([], settings.batch_size):
            student = None
            if prepared.teacher:
                samples = [*prepared.split.train, *exclude_held_out(prepared.outliers)]
                student = prepare_student(settings, prepared.teacher, samples, prepared.precision, checkpoint)
            context = TrainingContext(settings, prepared, checkpoint, run, distribution, student)
        if distribution.is_chief:
            if not checkpoint.exists:
                run.clear()
            checkpoint.begin(plan.fingerprint)
        distribution.barrier("the run folder is there")
        if not distribution.all_equal(checkpoint.describe()):
            raise DataError(f"the hosts do not see the same {settings.out}: put it on a file system that all share")
        best = run_stages(context)
        del context  # what it has mapped of the checkpoint could not be removed on Windows
    distribution.barrier("the run is written")
    if distribution.is_chief:
        checkpoint.remove()
    return best


@dataclass(frozen=True, slots=True)
class _Plan:
    """What is to be done, once everything has been looked at."""

    prepared: Prepared
    fingerprint: dict[str, Any]
    is_done: bool


class _Found(Enum):
    """What an earlier training has left in the run folder."""

    NOTHING = auto()
    CHECKPOINT = auto()
    """One that was broken off."""
    EPOCH = auto()
    """The network of an epoch, of one that was broken off and has lost its checkpoint."""
    RUN = auto()


def _look_into(settings: Settings, checkpoint: Checkpoint) -> _Found:
    """Looks into the run folder; raises `OutputError` where there is something, and it is not to be resumed."""
    if checkpoint.exists:
        found = _Found.CHECKPOINT
    elif has_ended(settings.out):
        found = _Found.RUN
    else:
        found = _Found.EPOCH if (settings.out / "model.keras").exists() else _Found.NOTHING
    if not settings.resume:
        if found is _Found.RUN:
            raise OutputError(f"{settings.out} holds a trained model already: choose another --out, or remove it")
        if found is not _Found.NOTHING:
            raise OutputError(
                f"{settings.out} holds a training that was broken off: go on with --resume, or choose another --out"
            )
    return found


def _prepare(
    settings: Settings, earlier_run: EarlierRun | None, checkpoint: Checkpoint, distribution: Distribution
) -> _Plan:
    """Looks at what is in the run folder, and at the images."""
    if distribution.is_chief:  # the others write nothing there
        checkpoint.check_run_folder()
    found = _look_into(settings, checkpoint)
    if distribution.is_chief and checkpoint.folder.exists() and found in {_Found.NOTHING, _Found.EPOCH}:
        checkpoint.remove()  # it was being removed, by a process that was killed: none of it is of this training
    precision = choose_dtype(settings.precision)
    teacher, earlier = (earlier_run, None) if settings.teacher else (None, earlier_run)
    if (teacher or earlier) and distribution.shard.hosts > 1:
        raise DataError(f"{'--teacher' if teacher else '--from'} works on one host: let it train alone")
    other_folders = _find_other_folders(settings, earlier)
    sides = _read_sides(settings)
    split, outliers, unlabelled = _find_images(settings, earlier, sides, other_folders)
    distribution.check(settings.batch_size, len(split.train))
    if teacher:
        teacher.check_classes(split.classes)
    if earlier and settings.other:
        _check_new(earlier, split, outliers)
    split = _note_learned(settings, split, unlabelled, sides)
    decoded = sum(map(len, (split.train, split.val, outliers, unlabelled)))
    before = read_fingerprint(settings.out) if found in {_Found.RUN, _Found.EPOCH} else checkpoint.fingerprint
    views_on = choose_views_on(settings, decoded, distribution.shard.devices, before.get("--views-on"))
    prepared = Prepared(split, outliers, unlabelled, other_folders, teacher, earlier, precision, views_on)
    fingerprint = _make_fingerprint(settings, prepared)
    if found is _Found.EPOCH:
        check_same(before, fingerprint, settings.out)
        _log.warning("%s has lost its checkpoint: it begins anew", settings.out)
    return _Plan(prepared, fingerprint, found is _Found.RUN)


def _find_images(
    settings: Settings, earlier: EarlierRun | None, sides: Sides, other_folders: Sequence[Path]
) -> tuple[Split, list[Sample], list[Sample]]:
    """Returns the images with a label, those of neither, and those without a label; says how many there are."""
    split = _make_split(settings, earlier, sides)
    for problem in problems_of_classes(split.classes):
        raise DataError(f"the data {problem}")
    names = ", ".join(split.classes)
    _log.info("%d images to train, %d to validate; classes: %s", len(split.train), len(split.val), names)
    if len(split.val) < ENOUGH:
        _log.warning("%s", few_images(len(split.val)))
    outliers: list[Sample] = []
    if other_folders:
        if has_neither(split.classes):
            raise DataError(f"there is a class '{NEITHER}', which --other would make another one of: leave that out")
        outliers, left_out = find_outliers(other_folders, [*split.train, *split.val], settings.seed)
        split = replace(split, quarantine=(*split.quarantine, *left_out))
        _log.info("%d images of neither", len(outliers))
    unlabelled: list[Sample] = []
    if settings.unlabelled:
        unlabelled, left_out = find_unlabelled(settings.unlabelled, [*split.train, *outliers], split.val)
        split = replace(split, quarantine=(*split.quarantine, *left_out))
        _log.info("%d images without a label", len(unlabelled))
    for item in split.quarantine[:_NAMED]:
        _log.info("left out: %s: %s", item.path, item.reason)
    if len(split.quarantine) > _NAMED:
        _log.info("left out: %d more; all are in quarantine.csv", len(split.quarantine) - _NAMED)
    return split, outliers, unlabelled


def _check_new(earlier: EarlierRun, split: Split, outliers: Sequence[Sample]) -> None:
    """Raises `DataError` where there is no image, neither of a class nor of neither, that the earlier run had not."""
    old = earlier.read_split()
    known = {sample.sha256 for sample in (*old.train, *old.val, *old.earlier_train, *old.earlier_val)}
    is_new = any(sample.sha256 not in known for sample in (*split.train, *split.val))
    if not is_new and read_fingerprint(earlier.folder).get("images of neither") == _hash(outliers):
        raise DataError("DATA and --other hold no image that the earlier run did not have: there is nothing to learn")


def _find_origin(settings: Settings) -> tuple[str, Path] | None:
    """Returns the option that names the run from which the network comes, and its folder; None where --from does."""
    if settings.teacher:
        return "--teacher", settings.teacher
    if not settings.from_run and is_network_of_run(Path(settings.weights)):
        return "--weights", Path(settings.weights).parent
    return None


def _read_sides(settings: Settings) -> Sides:
    """Reads what the network, or its teacher, learned from before, and was judged by."""
    origin = _find_origin(settings)
    return read_sides(origin[1]) if origin else Sides()


def _note_learned(settings: Settings, split: Split, unlabelled: Sequence[Sample], sides: Sides) -> Split:
    """Notes what the network, or its teacher, learned from before; raises `DataError` where that would validate."""
    if origin := _find_origin(settings):
        check_not_learned(*origin, sides.learned, split.val)
    learned = split.learned_hashes.union(sample.sha256 for sample in unlabelled) | sides.learned
    listed = {sample.sha256 for sample in (*split.train, *split.earlier_train)}  # those have rows of their own
    return replace(split, learned_hashes=learned - listed)


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


def _make_split(settings: Settings, earlier: EarlierRun | None, sides: Sides) -> Split:
    """Finds the images, and divides them."""
    for option, folder in (("--other", settings.other), ("--unlabelled", settings.unlabelled)):
        if folder and not folder.is_dir():  # better to hear it now than after all images were looked at
            raise DataError(f"{option} {folder}: no such folder")
    data = [*(settings.data or ()), *([download(settings.dataset)] if settings.dataset else ())]
    drop = DropList.read(settings.drop) if settings.drop else None
    if earlier:
        only_other = settings.other is not None  # what is neither may be all that is new
        return extend_split(earlier.classes, earlier.read_split(), data, settings.seed, drop, may_lack=only_other)
    return make_split(
        data,
        val=settings.val,
        train_size=settings.train_size,
        val_size=settings.val_size,
        seed=settings.seed,
        drop=drop,
        sides=sides,
    )


def _make_fingerprint(settings: Settings, prepared: Prepared) -> dict[str, Any]:
    """Returns all that decides how a training ends, in the words of the options."""
    origin = Path(settings.weights)
    if run := settings.teacher or settings.from_run:
        origin = run / "model.keras"
    start = hashlib.sha256(origin.read_bytes()).hexdigest() if origin.is_file() else str(origin)
    return settings.decisive() | {
        "--precision": prepared.precision.value,
        "--views-on": prepared.views_on.value,
        "--teacher" if settings.teacher else "--from" if settings.from_run else "--weights": start,
        "classes": list(prepared.split.classes),
        "images": _hash([*prepared.split.train, *prepared.split.val]),
        "images of neither": _hash(prepared.outliers),
        **({"images without a label": _hash(prepared.unlabelled)} if prepared.unlabelled else {}),
        "the backend": keras.backend.backend(),
        **{f"the version of {name}": version(name) for name in ("catsdogs", "keras")},
    }


def _hash(samples: Sequence[Sample]) -> str:
    """Returns one hash for images and their labels."""
    return hashlib.sha256(json.dumps([(sample.sha256, sample.label) for sample in samples]).encode()).hexdigest()
