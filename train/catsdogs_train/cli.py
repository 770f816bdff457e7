"""The command `catsdogs-train`; TensorFlow is imported inside the call, so that `--help` answers at once."""

import logging
import os
import sys
from typing import NoReturn

import typer

from catsdogs_edge.cli.app import command, make_app
from catsdogs_edge.cli.process import run
from catsdogs_edge.runtime.imports import importing_tensorflow
from catsdogs_train.backend import choose_backend
from catsdogs_train.settings import Settings

_app = make_app()


def main() -> NoReturn:
    """Entry point of `catsdogs-train`."""
    try:
        run(_app, extra="train")
    except BaseException as end:  # noqa: BLE001 - whatever it is, here the process ends
        _leave(end)


def _leave(end: BaseException) -> NoReturn:
    """Ends the process without Python's clean-up, in which TensorFlow can wait for ever.

    There it waits for its thread that reads batches ahead, and that thread for the interpreter, which is no more; so
    it went in 1 of 78 trainings that were broken off (TensorFlow 2.21). `end` is alive until then, because TensorFlow's
    reader is, too, as long as its traceback.
    """
    if not isinstance(end, SystemExit):
        sys.excepthook(type(end), end, end.__traceback__)
    code = end.code if isinstance(end, SystemExit) else 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else 0 if code is None else 1)


@command(
    _app,
    Settings,
    "catsdogs-train --dataset cats-vs-dogs --out run",
    "catsdogs-train pets/ --out run",
    "catsdogs-train data/train --val data/val --out run --epochs 5 --other things/",
    "catsdogs-train pets.zip --out run --fine-tune-epochs 8 --unfreeze all",
    "catsdogs-train pets.zip --out run --fine-tune-epochs 8 --unfreeze all --resume",
    "KERAS_BACKEND=jax catsdogs-train pets/ --out run",
    "catsdogs-train pets/ --teacher run --faster 3 --out small",
    "catsdogs-train labelled/classes --other labelled/other --from run --out better",
)
def _train(settings: Settings) -> None:
    """Train a ResNet50 to tell the classes of DATA apart: its output layer, then, if asked to, a part of the rest.

    With --from, an earlier run learns new images beside its own. With --teacher, a smaller network of an earlier run
    learns to answer as that one does.

    OUT gets model.keras of the best epoch, report.md with images of how it went, and what they were made from.
    Files that are no images, or are there twice, are left out and named in quarantine.csv; none is deleted.
    """
    _check_usage(settings)
    choose_backend()
    logging.getLogger("tensorflow").setLevel(logging.ERROR)  # it warns of functions that it compiles twice
    with importing_tensorflow():
        from catsdogs_train.train import train  # noqa: PLC0415

    best = train(settings)
    typer.echo(f"{settings.out}: validation accuracy {best.val_accuracy:.2%} after epoch {best.epoch}")


def _check_usage(settings: Settings) -> None:
    """Refuses options that contradict each other, or would do nothing."""
    if not (settings.data or settings.dataset):
        raise typer.BadParameter("name folders or zip files with images, or --dataset cats-vs-dogs")
    if settings.teacher and settings.weights != "imagenet":
        raise typer.BadParameter("either --weights or --teacher, which brings its own")
    if settings.teacher and not settings.tuning_epochs:
        raise typer.BadParameter("--teacher takes at least one of --fine-tune-epochs")
    own = (settings.teacher, settings.val, settings.train_size, settings.val_size)
    if settings.from_run and (any(own) or settings.weights != "imagenet"):
        raise typer.BadParameter("--from brings its own network and images: no --weights, --teacher, --val or sizes")
    if not settings.teacher and (name := settings.first_given("faster", "max_drop", "unlabelled")):
        raise typer.BadParameter(f"{name} goes with --teacher RUN, the network that is made smaller")
    if settings.teacher and (name := settings.first_given("unfreeze", "epochs", "views")):
        raise typer.BadParameter(f"{name} does not go with --teacher: all layers of a smaller network learn at once")
    tuning = ("fine_tune_size", "fine_tune_rate", "unfreeze", "label_smoothing", "mixup")
    if not settings.tuning_epochs and (name := settings.first_given(*tuning)):
        raise typer.BadParameter(f"{name} goes with --fine-tune-epochs: without them, only the output layer learns")
