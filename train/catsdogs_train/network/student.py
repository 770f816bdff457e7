"""A smaller network, what it is of its teacher, and the model in which it learns from it.

The student starts as what pruning leaves of the teacher. Both see the same views, and the student learns to answer as
the teacher does, in its logits and in the outputs of its stages: its channels are some of the teacher's, so these can
be compared without anything in between. Hinton et al., "Distilling the Knowledge in a Neural Network", 2015 (logits);
Romero et al., "FitNets: Hints for Thin Deep Nets", 2015 (features); Beyer et al., "Knowledge distillation: A good
teacher is patient and consistent", 2022 (the same views, for long).
"""

import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from catsdogs_edge.errors import DataError
from catsdogs_edge.images.decode import RgbBatch
from catsdogs_edge.output.files import atomic_file
from catsdogs_train.network.precision import dtype_policy_scope
from catsdogs_train.network.pruning import Indices, prune
from catsdogs_train.network.resnet import (
    add_ends,
    build_twin,
    fold_normalization,
    get_backbone,
    load_network,
    rebuild,
    stage_output,
    tap_backbone,
    to_inference_model,
)
from catsdogs_train.settings import ComputeDtype

_STAGE_WEIGHTS = {3: 0.5, 4: 1.0, 5: 1.0}
"""What the outputs of each stage count, beside the answers."""

_TEACHING = 1 / 0.3
"""What all that the teacher says counts, beside the labels."""

_SOFTNESS = 2.0
"""Divides the logits of both, so that what the teacher thinks of the other classes becomes visible."""


@dataclass(frozen=True, slots=True)
class Student:
    """A network that is made from another one."""

    network: keras.Model
    """The smaller one."""
    teacher: keras.Model
    """The other one, for images of any size."""
    teacher_size: int
    """Edge length of the images that it is best at, in pixels."""
    precision: ComputeDtype
    """Of both backbones."""
    kept: Mapping[str, Indices]
    """By stage, such as `conv5`: which of the teacher's channels it has."""

    def save(self, folder: Path, image_size: int) -> None:
        """Writes it beside a checkpoint, which it takes to go on."""
        with atomic_file(folder / "student.keras") as path:
            to_inference_model(self.network, image_size).save(path)
        with atomic_file(folder / "student.npz") as path, path.open("wb") as stream:
            np.savez(stream, allow_pickle=False, **self.kept)


def make_student(
    teacher: Path, teacher_size: int, student_size: int, batches: Iterable[RgbBatch], speedup: float, seed: int,
    precision: ComputeDtype,
) -> Student:  # fmt: skip
    """Prunes the `model.keras` of a run; see `prune`. Raises `DataError` for a file that cannot be pruned so far."""
    full = load_network(teacher, teacher_size, ComputeDtype.FLOAT32)
    pruned, plan = prune(full, batches, speedup, student_size, seed)
    kept = {name: channels for name, channels in plan.kept.items() if not name.endswith("relu")}
    network = build_twin(pruned, None, precision)
    network.set_weights(pruned.get_weights())
    return Student(network, _without_normalization(full, precision), teacher_size, precision, kept)


def load_student(folder: Path, teacher: Path, teacher_size: int, precision: ComputeDtype) -> Student:
    """Reads what `Student.save` wrote; raises `DataError` for a damaged file."""
    network = load_network(folder / "student.keras", None, precision)
    try:
        with np.load(folder / "student.npz", allow_pickle=False) as file:
            kept = dict(file)
    except (OSError, EOFError, ValueError, zipfile.BadZipFile) as error:
        raise DataError(f"{folder / 'student.npz'} is damaged ({error}): remove {folder}, and train anew") from error
    full = load_network(teacher, None, ComputeDtype.FLOAT32)
    return Student(network, _without_normalization(full, precision), teacher_size, precision, kept)


def _without_normalization(network: keras.Model, precision: ComputeDtype) -> keras.Model:
    """Returns a copy for images of any size, with batch normalization folded; see `fold_normalization`."""
    folded = fold_normalization(get_backbone(network))
    with dtype_policy_scope(precision):
        copy = add_ends(rebuild(folded, (None, None, 3)), network.output.shape[-1])
    copy.set_weights([*folded.get_weights(), *network.get_layer("logits").get_weights()])
    return copy


def make_learner(student: Student) -> keras.Model:
    """Makes the model to fit: uint8 RGB (N, S, S, 3) to the student's logits, and to losses against the teacher."""
    student.teacher.trainable = False
    with dtype_policy_scope(student.precision):  # also of the whole: for the scaled loss that Keras adds to float16
        image = keras.Input((None, None, 3), dtype="uint8", name="image")
        ours, theirs = _tap(student.network, "student")(image), _tap(student.teacher, "teacher")(image)
        return keras.Model(image, _Match(student.kept)(ours, theirs), name="learner")


def _tap(network: keras.Model, name: str) -> keras.Model:
    """Makes a model from images to a network's logits and the outputs of its later stages; weights are shared."""
    backbone = get_backbone(network)
    stages = [backbone.get_layer(stage_output(backbone, stage)).output for stage in _STAGE_WEIGHTS]
    features, *outputs = tap_backbone(network, [backbone.output, *stages])
    named = {f"conv{stage}": output for stage, output in zip(_STAGE_WEIGHTS, outputs, strict=True)}
    return keras.Model(network.input, {"logits": network.get_layer("logits")(features), **named}, name=name)


class _Match(keras.layers.Layer):  # type: ignore[misc]
    """Passes the student's logits on, and adds as losses how far it is from its teacher."""

    def __init__(self, kept: Mapping[str, Indices]) -> None:
        super().__init__(dtype="float32", name="match")
        self._kept = dict(kept)

    def call(self, ours: dict[str, Any], theirs: dict[str, Any]) -> Any:
        for stage, weight in _STAGE_WEIGHTS.items():
            name = f"conv{stage}"
            wanted = ops.stop_gradient(ops.take(theirs[name], self._kept[name], axis=-1))
            spread = ops.mean(ops.var(wanted, axis=(0, 1, 2))) + 1e-6  # the loss is a share of it
            self.add_loss(_TEACHING * weight * ops.mean(ops.square(ours[name] - wanted)) / spread)
        wanted = ops.stop_gradient(theirs["logits"]) / _SOFTNESS
        odds = ops.log_softmax(wanted) - ops.log_softmax(ours["logits"] / _SOFTNESS)
        divergence = ops.mean(ops.sum(ops.softmax(wanted) * odds, axis=-1))
        self.add_loss(_TEACHING * _SOFTNESS**2 * divergence)  # squared: the gradient gets smaller by that
        return ours["logits"]
