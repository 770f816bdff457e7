"""The second stage: a part of the backbone learns, too, at a low rate."""

import math

import keras

from catsdogs_train.network.resnet import unfreeze
from catsdogs_train.network.weights import assign, values
from catsdogs_train.run.history import Stage
from catsdogs_train.stages.context import TrainingContext
from catsdogs_train.stages.epochs import train_epochs
from catsdogs_train.views.augmentation import STRONG
from catsdogs_train.views.batches import ImageBatches

WARM_UP = 0.1
"""Share of the steps of fine-tuning in which the learning rate rises; then it falls along a cosine, to zero."""

WEIGHT_DECAY = 0.01
"""Weight decay of AdamW (Loshchilov and Hutter, "Decoupled Weight Decay Regularization", 2019), not for biases."""


def fine_tune(context: TrainingContext) -> None:
    """Lets a part of the backbone learn."""
    settings, network, state = context.settings, context.network, context.state
    is_new = not state.count(Stage.FINE_TUNING)
    if is_new:
        assign(network.trainable_variables, state.best_weights)
        context.write_run(context.to_inference_model())  # epochs on features, which take no time, do not
    unfreeze(network, settings.unfreeze)
    if is_new:
        state.best_weights = values(network.trainable_variables)

    def batches(epoch: int) -> ImageBatches:
        view, size = settings.head_epochs + epoch, settings.view_size
        return context.make_views(view, STRONG, size=size, mixup=settings.mixup, exposed=True)

    optimizer = make_optimizer(settings.tuning_rate, settings.tuning_epochs * len(batches(0)))
    train_epochs(context, Stage.FINE_TUNING, context.add_views(network), optimizer, batches, context.validate)


def make_optimizer(highest: float, steps: int) -> keras.optimizers.Optimizer:
    """Makes the optimizer for so many steps of a backbone, with that highest learning rate."""
    warm_up = math.ceil(WARM_UP * steps)
    rate = keras.optimizers.schedules.CosineDecay(
        highest / warm_up, max(steps - warm_up, 1), warmup_target=highest, warmup_steps=warm_up
    )
    optimizer = keras.optimizers.AdamW(rate, weight_decay=WEIGHT_DECAY)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    return optimizer
