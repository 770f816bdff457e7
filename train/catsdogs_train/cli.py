"""The command `catsdogs-train`.

TensorFlow is imported inside the call, so that `--help` answers at once.
"""

import logging
import math
import os
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from catsdogs_edge.command import examples, make_app, run, tensorflow_quiet
from catsdogs_train.backend import choose_backend
from catsdogs_train.settings import Devices, Precision, Settings, Unfreeze

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
    it went in 1 of 78 trainings that were broken off (TensorFlow 2.21).

    Args:
        end: What ends it; alive until then, because TensorFlow's reader is, too, as long as its traceback.
    """
    if not isinstance(end, SystemExit):
        sys.excepthook(type(end), end, end.__traceback__)
    code = end.code if isinstance(end, SystemExit) else 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else 0 if code is None else 1)


def _check_size(size: int | None) -> int | None:
    if size and size % 32:
        raise typer.BadParameter(f"{size} is not a multiple of 32: take {32 * round(size / 32)}")
    return size


def _check_number(number: float) -> float:
    if math.isnan(number):
        raise typer.BadParameter("nan is not a number")
    return number


@_app.command(
    epilog=examples(
        "catsdogs-train pets/ --out run",
        "catsdogs-train data/train --val data/val --out run --epochs 5 --other things/",
        "catsdogs-train pets.zip --out run --fine-tune-epochs 8 --unfreeze all",
        "catsdogs-train pets.zip --out run --fine-tune-epochs 8 --unfreeze all --resume",
        "KERAS_BACKEND=jax catsdogs-train pets/ --out run",
    )
)
def _train(
    data: Annotated[
        list[Path],
        typer.Argument(help="Folders or zip files: a folder of pictures for each class, or files called cat.0.jpg."),
    ],
    out: Annotated[Path, typer.Option(help="Run folder to write.")],
    weights: Annotated[
        str,
        typer.Option(
            metavar="imagenet|none|FILE",
            help="Backbone: ImageNet's weights, downloaded; a file of them, or the model.keras of an earlier run; "
            "'none': random, to try things.",
        ),
    ] = "imagenet",
    val: Annotated[
        Path | None,
        typer.Option(help="Folder to validate on, laid out like DATA; else a part of DATA is kept back."),
    ] = None,
    train_size: Annotated[int | None, typer.Option(min=1, help="Train on so many pictures, not on all.")] = None,
    val_size: Annotated[
        int | None,
        typer.Option(min=1, help="Validate on so many pictures, not on all (a fifth, without --val)."),
    ] = None,
    image_size: Annotated[
        int,
        typer.Option(min=32, metavar="S", callback=_check_size, help="Edge length of the input, a multiple of 32."),
    ] = 224,
    epochs: Annotated[
        int, typer.Option(min=1, help="Passes over the training pictures for the output layer alone.")
    ] = 10,
    views: Annotated[
        int,
        typer.Option(
            min=0, help="Views of each picture, computed once for all epochs; 0 draws new ones in each epoch, slowly."
        ),
    ] = 2,
    fine_tune_epochs: Annotated[
        int, typer.Option(min=0, help="Passes after those, in which a part of the backbone learns, too.")
    ] = 0,
    fine_tune_size: Annotated[
        int | None,
        typer.Option(
            min=32,
            metavar="S",
            callback=_check_size,
            show_default="0.7 of --image-size",
            help="Edge length of the views then: smaller ones are faster, and teach small animals.",
        ),
    ] = None,
    fine_tune_rate: Annotated[
        float,
        typer.Option(min=1e-7, max=1e-2, callback=_check_number, help="Highest learning rate then, along a cosine."),
    ] = 1e-4,
    unfreeze: Annotated[
        Unfreeze,
        typer.Option(help="That part: the last stage; the second half of the one before, too; or everything."),
    ] = Unfreeze.CONV4,
    label_smoothing: Annotated[
        float,
        typer.Option(
            min=0, max=0.9, callback=_check_number, help="Share of a label that goes to all classes, while fine-tuning."
        ),
    ] = 0.1,
    mixup: Annotated[
        float,
        typer.Option(
            min=0,
            max=10,
            callback=_check_number,
            help="Mix pairs of pictures while fine-tuning: 0.2 a little, 0 not at all.",
        ),
    ] = 0.0,
    other: Annotated[
        Path | None,
        typer.Option(
            help="Folder of pictures that show none of the classes, such as the empty room: the model learns to say "
            "'neither'. Without it, it learns that from DATA alone, less well."
        ),
    ] = None,
    keep: Annotated[
        float,
        typer.Option(
            min=0.5,
            max=1,
            callback=_check_number,
            help="Share of the pictures of the classes that must not be taken for 'neither'.",
        ),
    ] = 0.98,
    patience: Annotated[
        int | None, typer.Option(min=1, help="End a stage after so many epochs in a row without a better one.")
    ] = None,
    balance: Annotated[bool, typer.Option(help="Let each class count the same, however many pictures it has.")] = True,
    batch_size: Annotated[int, typer.Option(min=1, help="Pictures in one step.")] = 32,
    precision: Annotated[
        Precision, typer.Option(help="Of the backbone while training; what is saved is float32.")
    ] = Precision.AUTO,
    devices: Annotated[
        Devices, typer.Option(help="Share each batch between all GPUs; see docs/scale.md for several hosts.")
    ] = Devices.ONE,
    workers: Annotated[
        int,
        typer.Option(
            min=0, max=61, help="Processes that decode pictures, for a GPU that waits for threads; 0: threads."
        ),
    ] = 0,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Same seed, same CPU, same figures.")] = 0,
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="Also write OUT/tensorboard.")] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on where a training with these options was broken off.")
    ] = False,
) -> None:
    """Train a ResNet50 to tell the classes of DATA apart: its output layer, then, if asked to, a part of the rest.

    OUT gets model.keras of the best epoch, report.md with pictures of how it went, and what they were made from.
    Files that are no pictures, or are there twice, are left out and named in quarantine.csv; none is deleted.
    """
    choose_backend()
    logging.getLogger("tensorflow").setLevel(logging.ERROR)  # it warns of functions that it compiles twice
    with tensorflow_quiet():
        from catsdogs_train.fit import train  # noqa: PLC0415

        if find_spec("tensorflow"):  # Keras imports it on any backend, sooner or later
            import_module("tensorflow")

    best = train(
        Settings(
            data=tuple(data), out=out, weights=weights, val=val, train_size=train_size, val_size=val_size,
            image_size=image_size, epochs=epochs, views=views, fine_tune_epochs=fine_tune_epochs,
            fine_tune_size=fine_tune_size, fine_tune_rate=fine_tune_rate, unfreeze=unfreeze,
            label_smoothing=label_smoothing, mixup=mixup, other=other, keep=keep, patience=patience, balance=balance,
            batch_size=batch_size, precision=precision, devices=devices, workers=workers, seed=seed,
            tensorboard=tensorboard, resume=resume,
        )
    )  # fmt: skip
    typer.echo(f"{out}: validation accuracy {best.val_accuracy:.2%} after epoch {best.epoch}")
