"""What a user can ask a training for."""

from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any


class Unfreeze(StrEnum):
    """How much of the backbone fine-tuning may change; never batch normalization."""

    CONV5 = "conv5"
    """The last of the four stages."""
    CONV4 = "conv4"
    """The second half of the one before (its blocks 4 to 6), too."""
    ALL = "all"
    """Everything."""


class Precision(StrEnum):
    """In which numbers the backbone is computed; weights, output layer and the saved model are float32 always."""

    AUTO = "auto"
    """bfloat16 where the hardware has it, float16 on older GPUs, else float32."""
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"
    """With a scaled loss; for GPUs."""


class Devices(StrEnum):
    """What shares each batch."""

    ONE = "one"
    """One GPU, or the CPU."""
    ALL = "all"
    """All GPUs, or what the backend takes for several CPUs."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What the user asked for."""

    data: tuple[Path, ...]
    """Folders or zip files of labelled pictures; see `layouts.find_all`."""
    out: Path
    """Run folder."""
    weights: str = "imagenet"
    """`imagenet`, `none`, or the path of a weights file, or of the `model.keras` of an earlier run."""
    val: Path | None = None
    """Folder to validate on; None keeps a part of `data` for that."""
    train_size: int | None = None
    """Training pictures; None takes all."""
    val_size: int | None = None
    """Validation pictures; None takes all of `val`, or about a fifth of `data`."""
    image_size: int = 224
    """Edge length of the input in pixels, a multiple of 32."""
    epochs: int = 10
    """Passes over the training pictures with a frozen backbone."""
    views: int = 2
    """Views of each training picture whose features are computed once; 0 asks the backbone anew in each epoch."""
    fine_tune_epochs: int = 0
    """Passes after those, with a part of the backbone unfrozen."""
    fine_tune_size: int | None = None
    """Edge length of the views then, in pixels, a multiple of 32; None takes about 0.7 of `image_size`."""
    fine_tune_rate: float = 1e-4
    """Highest learning rate then."""
    unfreeze: Unfreeze = Unfreeze.CONV4
    """Which part."""
    label_smoothing: float = 0.1
    """Share of the label that is spread over all classes while fine-tuning, 0 to 1."""
    mixup: float = 0.0
    """Parameter of the beta distribution by which pairs of pictures are mixed while fine-tuning; 0 mixes none."""
    other: Path | None = None
    """Folder of pictures that show none of the classes; None: familiarity is learned without any."""
    keep: float = 0.98
    """Share of the pictures of the classes that must not be taken for pictures of neither, 0 to 1."""
    patience: int | None = None
    """Epochs without a better one after which the head, or fine-tuning, is done; None trains all epochs."""
    balance: bool = True
    """Let each class count the same, however many pictures it has."""
    batch_size: int = 32
    """Pictures in one step."""
    precision: Precision = Precision.AUTO
    """Of the backbone."""
    devices: Devices = Devices.ONE
    """That share each batch; of each host, where there are several."""
    workers: int = 0
    """Processes that decode pictures; 0: threads."""
    seed: int = 0
    """Of the split, the order, the new layer and the augmentation."""
    tensorboard: bool = False
    """Also write the figures for TensorBoard."""
    resume: bool = False
    """Go on with what `out` holds of a training that was broken off."""

    @property
    def view_size(self) -> int:
        """Edge length of the views while fine-tuning, in pixels.

        A view is about the half to all of the picture's width; with 0.7 of the edge length, half of the pixels, things
        are as large in it as in the whole picture at full size, or smaller, and it takes half of the time (Touvron et
        al., "Fixing the train-test resolution discrepancy", 2019).
        """
        return self.fine_tune_size or max(round(0.7 * self.image_size / 32), 1) * 32

    def decisive(self) -> dict[str, Any]:
        """Gives what decides how a training ends, by option, but for what is in files."""
        free = {"data", "val", "other", "out", "weights", "precision", "devices", "workers", "tensorboard", "resume"}
        return {f"--{name.replace('_', '-')}": value for name, value in asdict(self).items() if name not in free}
