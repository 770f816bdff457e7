"""Trains a classifier: looks at the pictures, and goes through the stages that are asked for."""

import hashlib
import json
import logging
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import keras

from catsdogs_edge.contract import NEITHER, has_neither
from catsdogs_edge.errors import CatsDogsError, DataError, OutputError
from catsdogs_edge.files import check_writable
from catsdogs_train.cache import held
from catsdogs_train.checkpoint import Checkpoint, Epoch
from catsdogs_train.dataset import Sample, Split, make_split
from catsdogs_train.devices import Team, assemble
from catsdogs_train.failures import explained
from catsdogs_train.model import check_weights
from catsdogs_train.others import find_others
from catsdogs_train.precision import choose
from catsdogs_train.report import Report, read_best
from catsdogs_train.settings import Precision, Settings
from catsdogs_train.stages import Training

_log = logging.getLogger(__name__)

_NAMED = 5
"""Files that are left out and named on the terminal."""


def train(settings: Settings) -> Epoch:
    """Trains a classifier and writes its run folder.

    After every epoch, what it takes to go on is in `RUN/checkpoint`, which is removed at the end.

    Args:
        settings: What to train on, how, and where to.

    Returns:
        The figures of the best epoch, whose weights are in `model.keras`.

    Raises:
        DataError: The pictures or the weights cannot be used, or what is to be resumed is another training.
        OutputError: `settings.out` holds a run already, is in use by another process, or cannot be written.
        MemoryShortageError: A batch does not fit into memory, or a process that decodes has ended.
    """
    check_writable(settings.out)  # better to hear it now than after the first epoch
    check_weights(settings.weights)
    keras.utils.set_random_seed(settings.seed)
    team = assemble(settings.devices)
    with held(settings.out) if team.leads else nullcontext():
        try:
            return _train(settings, team)
        except (RuntimeError, ValueError) as error:
            if not team.lost(error):
                raise
            raise DataError(
                "another host has ended, or cannot be reached: see what it says, and start all again with --resume"
            ) from error


def _train(settings: Settings, team: Team) -> Epoch:
    checkpoint = Checkpoint(settings.out)
    try:
        job = _prepare(settings, checkpoint, team)
    except CatsDogsError:
        team.agrees(b"")  # the others wait for what this host has to say
        raise
    if not team.agrees(json.dumps([job.promise, job.is_done]).encode()):
        raise DataError("the hosts do not see the same: give each the same options, pictures and weights")
    if job.is_done:
        best = read_best(settings.out, job.promise)
        if team.leads:
            checkpoint.remove()  # what is left of it, if that was killed
        _log.info("%s is done already", settings.out)
        return best
    report = Report(settings, job.split, job.precision, job.promise)
    with team.scope():
        with explained([], settings.batch_size):
            training = Training(settings, job.split, job.others, job.precision, checkpoint, report, team)
        if team.leads:
            checkpoint.begin(job.promise)
        team.wait("the run folder is there")
        if not team.agrees(checkpoint.describe()):
            raise DataError(f"the hosts do not see the same {settings.out}: put it on a file system that all share")
        best = training.run()
    team.wait("the run is written")
    if team.leads:
        checkpoint.remove()
    return best


@dataclass(frozen=True, slots=True)
class _Job:
    """What is to be done, once everything has been looked at."""

    split: Split
    others: Sequence[Sample]
    precision: Precision
    promise: dict[str, Any]
    is_done: bool


def _prepare(settings: Settings, checkpoint: Checkpoint, team: Team) -> _Job:
    """Looks at the pictures, and at what is in the run folder."""
    is_done = not checkpoint.exists and (settings.out / "model.keras").exists()
    if is_done and not settings.resume:
        raise OutputError(f"{settings.out} holds a trained model already: choose another --out, or remove it")
    if checkpoint.exists and not settings.resume:
        raise OutputError(
            f"{settings.out} holds a training that was broken off: go on with --resume, or choose another --out"
        )
    precision = choose(settings.precision)
    split = make_split(
        settings.data,
        val=settings.val,
        train_size=settings.train_size,
        val_size=settings.val_size,
        seed=settings.seed,
    )
    _log.info(
        "%d pictures to train, %d to validate; classes: %s",
        len(split.train), len(split.val), ", ".join(split.classes),
    )  # fmt: skip
    team.check(settings.batch_size, len(split.train))
    others: list[Sample] = []
    if settings.other:
        if has_neither(split.classes):
            raise DataError(f"there is a class '{NEITHER}', which --other would make another one of: leave that out")
        others, left_out = find_others(settings.other, [*split.train, *split.val], settings.seed)
        split = replace(split, quarantine=(*split.quarantine, *left_out))
        _log.info("%d pictures of neither", len(others))
    for item in split.quarantine[:_NAMED]:
        _log.info("left out: %s: %s", item.path, item.reason)
    if len(split.quarantine) > _NAMED:
        _log.info("left out: %d more; all are in quarantine.csv", len(split.quarantine) - _NAMED)
    return _Job(split, others, precision, _promise(settings, split, others, precision), is_done)


def _promise(settings: Settings, split: Split, others: Sequence[Sample], precision: Precision) -> dict[str, Any]:
    """Gives all that decides how a training ends, in the words of the options."""
    pictures = [(sample.sha256, sample.label) for part in (split.train, split.val) for sample in part]
    weights = Path(settings.weights)
    return settings.decisive() | {
        "--precision": precision.value,
        "--weights": hashlib.sha256(weights.read_bytes()).hexdigest() if weights.is_file() else settings.weights,
        "classes": list(split.classes),
        "pictures of the hash": hashlib.sha256(json.dumps(pictures).encode()).hexdigest(),
        "pictures of neither of the hash": hashlib.sha256(
            json.dumps([(sample.sha256, sample.label) for sample in others]).encode()
        ).hexdigest(),
        "the backend": keras.backend.backend(),
        **{f"the version of {name}": version(name) for name in ("catsdogs", "keras")},
    }
