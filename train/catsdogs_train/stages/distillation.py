"""The only stage of a student: a smaller network learns from the one that it was made from."""

import logging
from collections.abc import Iterator, Sequence

import keras

from catsdogs_edge.errors import DataError
from catsdogs_edge.images.decode import RgbBatch, load_batch
from catsdogs_train.data.split import Sample
from catsdogs_train.network.resnet import get_backbone, rebuild, unfreeze
from catsdogs_train.network.structure import estimate_cost
from catsdogs_train.network.student import Student, load_student, make_learner, make_student
from catsdogs_train.run.checkpoint import Checkpoint
from catsdogs_train.run.comparison import Comparison
from catsdogs_train.run.earlier_run import EarlierRun
from catsdogs_train.run.history import Stage
from catsdogs_train.settings import ComputeDtype, Settings, Unfreeze
from catsdogs_train.stages.context import TrainingContext, make_batches
from catsdogs_train.stages.epochs import train_epochs
from catsdogs_train.stages.fine_tuning import make_optimizer
from catsdogs_train.views.augmentation import STRONG
from catsdogs_train.views.batches import ImageBatches, draw_order

_log = logging.getLogger(__name__)

_FULL_SIZE = 0.1  # of the epochs, the last ones: the output layer gets to know how large things are in whole images
_PRUNED_ON, _AT_ONCE = 400, 8  # images that pruning looks at, in all and at a time


def prepare_student(
    settings: Settings, teacher: EarlierRun, samples: Sequence[Sample], precision: ComputeDtype, checkpoint: Checkpoint
) -> Student:
    """Prunes the teacher, or reads what that gave before; raises `DataError` where it cannot be made so small."""
    if checkpoint.exists and checkpoint.has_student:
        return load_student(checkpoint.folder, teacher.model, teacher.image_size, precision)
    _log.info("pruning %s, to be %g times faster", settings.teacher, settings.speedup)
    chosen = [samples[index].path for index in draw_order(settings.seed, 0, len(samples))[:_PRUNED_ON]]

    def batches() -> Iterator[RgbBatch]:
        for start in range(0, len(chosen), _AT_ONCE):
            yield load_batch(chosen[start : start + _AT_ONCE], teacher.image_size)

    return make_student(
        teacher.model, teacher.image_size, settings.input_size, batches(), settings.speedup, settings.seed, precision
    )


def distill(context: TrainingContext, student: Student) -> None:
    """Lets the student learn."""
    settings = context.settings
    unfreeze(student.network, Unfreeze.ALL)
    if not context.state.history and context.distribution.is_chief:
        student.save(context.checkpoint.folder, settings.input_size)
    learner = context.add_views(make_learner(student))
    large = settings.tuning_epochs - int(_FULL_SIZE * settings.tuning_epochs)  # the first epoch of whole images

    def batches(epoch: int) -> ImageBatches:
        size = settings.view_size if epoch < large else settings.input_size
        return context.make_views(epoch, STRONG, size=size, mixup=settings.mixup, exposed=True)

    optimizer = make_optimizer(settings.tuning_rate, settings.tuning_epochs * len(batches(0)))
    train_epochs(context, Stage.DISTILLATION, learner, optimizer, batches, context.validate)


def compare(context: TrainingContext, student: Student) -> Comparison:
    """Compares the student, as it was after its best epoch, with its teacher, on the validation images.

    Raises `DataError` where it lost more than it may.
    """
    settings = context.settings
    bar = context.progress.callback("asking the teacher")
    batches = context.remember_batches(make_batches(settings, context.split.val, image_size=student.teacher_size))
    (logits,) = context.distribution.predict(student.teacher, batches, [bar])
    costs = [
        estimate_cost(rebuild(get_backbone(network), (size, size, 3)))
        for network, size in ((student.teacher, student.teacher_size), (student.network, settings.input_size))
    ]
    comparison = Comparison(
        teacher=logits,
        student=context.state.best_logits,
        truth=context.truth,
        speedup=costs[0] / costs[1],
        parameters=(_count_weights(student.teacher), _count_weights(student.network)),
    )
    _log.info("the student: %s", comparison.describe())
    if comparison.drop > settings.largest_drop:
        raise DataError(
            f"the student gives {comparison.describe()}; --max-drop allows {settings.largest_drop:g}. No model is "
            "written. Ask for less (--faster) or train longer (--fine-tune-epochs) in another --out; or allow more, "
            "and --resume"
        )
    return comparison


def _count_weights(network: keras.Model) -> int:
    """Counts the weights that an exported file has: batch normalization is folded into others there."""
    layers = [*get_backbone(network).layers, network.get_layer("logits")]
    return sum(layer.count_params() for layer in layers if not isinstance(layer, keras.layers.BatchNormalization))
