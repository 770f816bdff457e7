"""Goes through the stages of a training, from where it stands to its end."""

import logging

import numpy as np

from catsdogs_edge.model.scores import Scores
from catsdogs_edge.output.files import atomic_files
from catsdogs_train.data.arrays import is_whole, read_array
from catsdogs_train.data.audit import group_near_copies
from catsdogs_train.network.cross_validation import cross_validate
from catsdogs_train.network.familiarity import attach
from catsdogs_train.network.resnet import get_backbone, unfreeze
from catsdogs_train.network.weights import assign
from catsdogs_train.run.history import Epoch, Stage
from catsdogs_train.run.report import Outcome
from catsdogs_train.run.tensorboard import TensorBoardWriter
from catsdogs_train.settings import Unfreeze
from catsdogs_train.stages.changes import find_changes
from catsdogs_train.stages.context import TrainingContext
from catsdogs_train.stages.distillation import compare, distill
from catsdogs_train.stages.error_messages import readable_errors
from catsdogs_train.stages.familiarity import learn_familiarity
from catsdogs_train.stages.fine_tuning import fine_tune
from catsdogs_train.stages.head import train_head
from catsdogs_train.views import prefetch

_log = logging.getLogger(__name__)


def run_stages(context: TrainingContext) -> Epoch:
    """Trains what is left to train, ends the run folder, and returns the figures of the best epoch; see `train`."""
    context.state = context.checkpoint.load()
    state = context.state
    if state.history:
        _log.info("going on after epoch %d (%s)", state.history[-1].epoch, state.history[-1].stage.value)
    if context.settings.tensorboard and context.distribution.is_chief:
        context.board = TensorBoardWriter(context.settings.out)
    try:
        with context.progress, readable_errors(context.current_batches, context.settings.batch_size):
            context.prepare_images()
            if context.student:
                if not state.has_ended(Stage.DISTILLATION):
                    distill(context, context.student)
            else:
                if not state.has_ended(Stage.HEAD):
                    train_head(context)
                if context.settings.tuning_epochs and not state.has_ended(Stage.FINE_TUNING):
                    fine_tune(context)
            _finish(context)
    finally:
        prefetch.stop()
        if context.board:
            context.board.close()
    return state.history[state.best]


def _finish(context: TrainingContext) -> None:
    """Ends the run folder with the network of the best epoch, and what is familiar to it."""
    state = context.state
    if context.student:
        unfreeze(context.network, Unfreeze.ALL)
    elif state.history[-1].stage is Stage.FINE_TUNING:
        unfreeze(context.network, context.settings.unfreeze)
    assign(context.network.trainable_variables, state.best_weights)
    outcome = Outcome(
        comparison=compare(context, context.student) if context.student else None,
        changes=find_changes(context, context.earlier) if context.earlier else None,
        familiarity=learn_familiarity(context),
        train_probabilities=_probabilities_by_others(context),
    )
    network = context.to_inference_model()
    if outcome.familiarity:
        network = attach(network, outcome.familiarity.detector)
    if context.distribution.is_chief:
        with atomic_files(context.settings.out) as folder:
            context.run.finish(folder, state, network, outcome)


def _probabilities_by_others(context: TrainingContext) -> Scores | None:
    """Returns what others say of each training image, (N, C); None where its features were not computed.

    On other hosts than the first, which writes, it is None, too.
    """
    file = context.checkpoint.features_file("0")
    if not context.distribution.is_chief or not is_whole(file):
        return None
    samples, width = context.split.train, get_backbone(context.network).output.shape[-1]
    labels = np.array([sample.label for sample in samples], np.int64)
    groups = group_near_copies([sample.path for sample in samples])
    return cross_validate(np.array(read_array(file)[:, :width]), labels, groups, context.settings.seed)
