"""Trains a classifier: sees what is to be done, and goes through the stages that are asked for."""

import hashlib
import json
import logging
from contextlib import nullcontext
from dataclasses import dataclass, replace
from enum import Enum, auto
from importlib.metadata import version
from pathlib import Path
from typing import Any

import keras

from catsdogs_edge.errors import CatsDogsError, DataError, OutputError
from catsdogs_edge.output.files import check_writable
from catsdogs_train.backend import set_up_keras
from catsdogs_train.data.outliers import exclude_held_out
from catsdogs_train.images import find_training_images, hash_samples
from catsdogs_train.network.device_batches import choose_views_on
from catsdogs_train.network.distribution import Distribution, assemble
from catsdogs_train.network.precision import choose_dtype
from catsdogs_train.network.resnet import check_weights
from catsdogs_train.run.checkpoint import Checkpoint, check_same
from catsdogs_train.run.earlier_run import EarlierRun, has_ended, read_best, read_earlier, read_fingerprint
from catsdogs_train.run.history import Epoch
from catsdogs_train.run.lock import lock_run_folder
from catsdogs_train.run.run_folder import RunFolderWriter
from catsdogs_train.run.tensorboard import check_tensorboard
from catsdogs_train.settings import Settings
from catsdogs_train.stages.context import Prepared, TrainingContext
from catsdogs_train.stages.distillation import prepare_student
from catsdogs_train.stages.error_messages import readable_errors
from catsdogs_train.stages.training import run_stages

_log = logging.getLogger(__name__)


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
        try:
            best = run_stages(context)
        except (KeyboardInterrupt, SystemExit):
            _log.warning("%s: broken off; the same command with --resume goes on", settings.out)
            raise
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
    images = find_training_images(settings, earlier)
    split = images.split
    distribution.check(settings.batch_size, len(split.train))
    if teacher:
        teacher.check_classes(split.classes)
    decoded = sum(map(len, (split.train, split.val, images.outliers, images.unlabelled)))
    before = read_fingerprint(settings.out) if found in {_Found.RUN, _Found.EPOCH} else checkpoint.fingerprint
    views_on = choose_views_on(settings, decoded, distribution.shard.devices, before.get("--views-on"))
    prepared = Prepared(
        split, images.outliers, images.unlabelled, images.other_folders, teacher, earlier, precision, views_on
    )
    fingerprint = _make_fingerprint(settings, prepared)
    if found is _Found.EPOCH:
        check_same(before, fingerprint, settings.out)
        _log.warning("%s has lost its checkpoint: it begins anew", settings.out)
    return _Plan(prepared, fingerprint, found is _Found.RUN)


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
        "images": hash_samples([*prepared.split.train, *prepared.split.val]),
        "images of neither": hash_samples(prepared.outliers),
        **({"images without a label": hash_samples(prepared.unlabelled)} if prepared.unlabelled else {}),
        "the backend": keras.backend.backend(),
        **{f"the version of {name}": version(name) for name in ("catsdogs", "keras")},
    }
