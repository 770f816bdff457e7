"""What a user can ask a training for."""

from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer


class Unfreeze(StrEnum):
    """How much of the backbone fine-tuning may change; never batch normalization."""

    CONV5 = "conv5"
    """The last of the four stages."""
    CONV4 = "conv4"
    """The last stage and the second half of the one before (its blocks 4 to 6)."""
    ALL = "all"


class ComputeDtype(StrEnum):
    """The numbers that the backbone is computed in; weights, output layer and the saved model are float32 always."""

    AUTO = "auto"
    """bfloat16 where the hardware has it, float16 on older GPUs, else float32."""
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"
    """For GPUs; the loss is scaled."""


class Devices(StrEnum):
    """What shares each batch."""

    ONE = "one"
    """One GPU, or the CPU."""
    ALL = "all"
    """All GPUs, or what the backend takes for several CPUs."""


class ViewsOn(StrEnum):
    """Where the pixels of views are computed; on either, a view follows from seed, number and image alone."""

    AUTO = "auto"
    """On a GPU, if there is one; a CPU is slower at it than OpenCV."""
    HOST = "host"
    DEVICE = "device"


def _check_size(size: int | None) -> int | None:
    if size and size % 8:
        raise typer.BadParameter(f"{size} is not a multiple of 8: take {8 * round(size / 8)}")
    return size


def _option(field: str) -> str:
    return f"--{field.replace('_', '-')}"


class Dataset(StrEnum):
    """A public set of images that `--dataset` names."""

    CATS_VS_DOGS = "cats-vs-dogs"
    """Microsoft's copy of Kaggle's 25,000 images; those that are damaged are left out, as always."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The options of `catsdogs-train`, each declared once."""

    data: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Folders or zip files: a folder of images for each class, or files called cat.0.jpg.",
            show_default=False,
        ),
    ] = None
    dataset: Annotated[
        Dataset | None, typer.Option(help="Take images that need no account: 825 MB are downloaded, once.")
    ] = None
    out: Annotated[Path, typer.Option(help="Run folder to write.")]
    weights: Annotated[
        str,
        typer.Option(
            metavar="imagenet|none|FILE",
            help="Backbone: ImageNet's weights, downloaded; a file of them, or the model.keras of an earlier run; "
            "'none': random, to try things.",
        ),
    ] = "imagenet"
    val: Annotated[
        Path | None, typer.Option(help="Folder to validate on, laid out like DATA; else a part of DATA is kept back.")
    ] = None
    train_size: Annotated[int | None, typer.Option(min=1, help="Train on so many images, not on all.")] = None
    val_size: Annotated[
        int | None, typer.Option(min=1, help="Validate on so many images, not on all (a fifth, without --val).")
    ] = None
    drop: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Leave out the images of DATA that this CSV lists, such as a worst.csv you went through.",
        ),
    ] = None
    image_size: Annotated[
        int | None,
        typer.Option(
            min=32,
            metavar="S",
            callback=_check_size,
            show_default="224, or that of an earlier RUN",
            help="Edge length of the input, a multiple of 8.",
        ),
    ] = None
    epochs: Annotated[
        int | None,
        typer.Option(
            min=1,
            show_default="300, or 10 with --views 0",
            help="Most passes over the training images for the output layer alone; with --views it ends when the "
            "validation accuracy stops rising.",
        ),
    ] = None
    views: Annotated[
        int,
        typer.Option(
            min=0, help="Views of each image, computed once for all epochs; 0 draws new ones in each epoch, slowly."
        ),
    ] = 2
    fine_tune_epochs: Annotated[
        int | None,
        typer.Option(
            min=0,
            show_default="0, or 30 with --teacher",
            help="Passes after those of the output layer, in which a part of the backbone learns, too.",
        ),
    ] = None
    fine_tune_size: Annotated[
        int | None,
        typer.Option(
            min=32,
            metavar="S",
            callback=_check_size,
            show_default="0.7 of --image-size",
            help="Edge length of the views while fine-tuning: smaller ones are faster, and teach small animals.",
        ),
    ] = None
    fine_tune_rate: Annotated[
        float | None,
        typer.Option(
            min=1e-7,
            max=1e-2,
            show_default="0.0001, or 0.0003 with --teacher",
            help="Highest learning rate while fine-tuning, along a cosine.",
        ),
    ] = None
    unfreeze: Annotated[
        Unfreeze,
        typer.Option(
            help="What fine-tuning may change: the last stage; the second half of the one before, too; or everything."
        ),
    ] = Unfreeze.CONV4
    label_smoothing: Annotated[
        float,
        typer.Option(min=0, max=0.9, help="Share of a label that goes to all classes, while fine-tuning."),
    ] = 0.1
    mixup: Annotated[
        float,
        typer.Option(
            min=0,
            max=10,
            help="Mix pairs of images while fine-tuning: 0.2 a little, 0 not at all.",
        ),
    ] = 0.0
    from_run: Annotated[
        Path | None,
        typer.Option(
            "--from",
            metavar="RUN",
            help="Go on from an earlier run: DATA are new images, which are learned beside those of RUN; minutes.",
        ),
    ] = None
    teacher: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN",
            help="Make a smaller network of an earlier run, which teaches it, instead of a new one from --weights.",
        ),
    ] = None
    faster: Annotated[
        float | None,
        typer.Option(
            min=1,
            max=100,
            show_default="3",
            help="With --teacher: how many times faster than it, on a CPU in INT8; --image-size counts, too.",
        ),
    ] = None
    max_drop: Annotated[
        float | None,
        typer.Option(
            min=0,
            show_default="0.5",
            help="With --teacher: accuracy that may be lost against it, in percentage points.",
        ),
    ] = None
    unlabelled: Annotated[
        Path | None,
        typer.Option(
            help="With --teacher: folder of more images to learn its answers from; nothing says what they show."
        ),
    ] = None
    other: Annotated[
        Path | None,
        typer.Option(
            help="Folder of images that show none of the classes, such as the empty room: the model learns to say "
            "'neither'. Without it, it learns that from DATA alone, less well."
        ),
    ] = None
    keep: Annotated[
        float,
        typer.Option(
            min=0.5,
            max=1,
            help="Share of the images of the classes that must not be taken for 'neither'.",
        ),
    ] = 0.98
    patience: Annotated[
        int | None, typer.Option(min=1, help="End a stage after so many epochs in a row without a better one.")
    ] = None
    balance: Annotated[bool, typer.Option(help="Let each class count the same, however many images it has.")] = True
    batch_size: Annotated[int, typer.Option(min=1, help="Images in one step.")] = 32
    precision: Annotated[
        ComputeDtype, typer.Option(help="Of the backbone while training; what is saved is float32.")
    ] = ComputeDtype.AUTO
    devices: Annotated[
        Devices, typer.Option(help="Share each batch between all GPUs; see docs/scale.md for several hosts.")
    ] = Devices.ONE
    views_on: Annotated[
        ViewsOn,
        typer.Option(
            help="Where views of images are drawn: 'device' in the training step, from images that were decoded once; "
            "'host' by OpenCV on the CPU; 'auto' on a GPU if there is one."
        ),
    ] = ViewsOn.AUTO
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Same seed, same CPU, same figures.")] = 0
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="Also write OUT/tensorboard.")] = False
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on where a training with these options was broken off.")
    ] = False

    @property
    def input_size(self) -> int:
        """Edge length of the input, in pixels."""
        return self.image_size or 224

    @property
    def head_epochs(self) -> int:
        """Most epochs of the output layer alone: on features that were computed once, they cost next to nothing."""
        return self.epochs or (300 if self.views else 10)

    @property
    def tuning_epochs(self) -> int:
        """Epochs in which the backbone learns."""
        return self.fine_tune_epochs if self.fine_tune_epochs is not None else 30 if self.teacher else 0

    @property
    def tuning_rate(self) -> float:
        """Highest learning rate then."""
        return self.fine_tune_rate or (3e-4 if self.teacher else 1e-4)

    @property
    def speedup(self) -> float:
        """How many times faster than its teacher a student is to be."""
        return self.faster or 3.0

    @property
    def largest_drop(self) -> float:
        """Accuracy that a student may lose against its teacher, in percentage points."""
        return 0.5 if self.max_drop is None else self.max_drop

    @property
    def view_size(self) -> int:
        """Edge length of the views while fine-tuning, in pixels.

        A view is about the half to all of the image's width; with 0.7 of the edge length, half of the pixels, things
        are as large in it as in the whole image at full size, or smaller, and it takes half of the time (Touvron et
        al., "Fixing the train-test resolution discrepancy", 2019).
        """
        return self.fine_tune_size or max(round(0.7 * self.input_size / 32), 1) * 32

    def first_given(self, *names: str) -> str | None:
        """Returns the first of these fields that is not at its default, as an option."""
        default = Settings(out=self.out)
        return next((_option(name) for name in names if getattr(self, name) != getattr(default, name)), None)

    def decisive(self) -> dict[str, Any]:
        """Returns what decides how a training ends, by option, but for what is in files; defaults are spelled out."""
        in_files = {"data", "dataset", "val", "drop", "other", "out", "weights", "teacher", "unlabelled", "from_run"}
        free = in_files | {"max_drop", "precision", "devices", "views_on", "tensorboard", "resume"}
        values = asdict(self) | {
            "faster": self.speedup,
            "image_size": self.input_size,
            "epochs": self.head_epochs,
            "fine_tune_epochs": self.tuning_epochs,
            "fine_tune_rate": self.tuning_rate,
            "fine_tune_size": self.view_size,
        }
        return {_option(name): value for name, value in values.items() if name not in free}
