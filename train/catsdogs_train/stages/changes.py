"""Compares a network with the earlier one that it was trained from."""

import logging

from catsdogs_train.network.resnet import load_network
from catsdogs_train.run.changes import Changes
from catsdogs_train.run.earlier_run import EarlierRun
from catsdogs_train.stages.context import TrainingContext

_log = logging.getLogger(__name__)


def find_changes(context: TrainingContext, earlier: EarlierRun) -> Changes:
    """Asks the earlier network about the validation images, too."""
    network = load_network(earlier.model, None, context.precision)
    bar = context.progress.callback("asking the earlier run")
    (logits,) = context.distribution.predict(network, context.val_images, [bar])
    changes = Changes(
        before=logits,
        after=context.state.best_logits,
        truth=context.truth,
        sources=[sample.source for sample in context.split.val],
    )
    _log.info("%s", changes.describe())
    return changes
