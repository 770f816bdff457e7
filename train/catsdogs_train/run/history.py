"""The epochs of a training, and how far it has come."""

from dataclasses import dataclass, field
from enum import StrEnum

import msgspec
import numpy as np

from catsdogs_edge.model.scores import Scores
from catsdogs_train.network.weights import Arrays


class Stage(StrEnum):
    """What is being trained."""

    HEAD = "head"
    """The output layer, on a frozen backbone."""
    FINE_TUNING = "fine-tuning"
    """The output layer and the last part of the backbone."""
    DISTILLATION = "distillation"
    """All of a smaller network, from the answers of the one that it was made from."""


class Epoch(msgspec.Struct, frozen=True, kw_only=True):
    """Figures of one epoch."""

    epoch: int
    """The number of the epoch, from 1, through all stages."""
    stage: Stage
    accuracy: float
    """Share of right answers on augmented training images, 0 to 1, averaged while the network learned."""
    loss: float
    """Mean cross-entropy on the same, in nats, with what smoothing, mixing and class weights do to it; for a student
    also how far it is from its teacher (`make_learner`)."""
    val_accuracy: float
    """Share of right answers on the validation images, 0 to 1."""
    val_loss: float
    """Mean cross-entropy on the validation images, in nats."""
    seconds: float
    """Wall time, validation included."""
    images_per_second: float = msgspec.field(name="pictures_per_second")  # its name in files of before
    """Images shown, or features of them, while learning: also those of neither and without a label; no validation."""

    def describe(self) -> str:
        """Describes the figures in one line."""
        return (
            f"accuracy {self.accuracy:.2%}, loss {self.loss:.4f}; "
            f"validation accuracy {self.val_accuracy:.2%}, loss {self.val_loss:.4f}; {self.seconds:.0f} s"
        )

    def is_better_than(self, other: "Epoch") -> bool:
        """Returns whether it is to be kept instead: it has more right answers or, with as many, is of a later stage.

        Within fine-tuning the later epoch wins, because the learning rate falls to zero; within other stages the
        smaller loss. Losses of two stages cannot be compared: label smoothing makes that of fine-tuning greater.
        """
        stages, tuning = list(Stage), Stage.FINE_TUNING
        one, two = (
            (item.val_accuracy, stages.index(item.stage), item.epoch if item.stage is tuning else -item.val_loss)
            for item in (self, other)
        )
        return one > two


@dataclass(slots=True, kw_only=True)
class TrainingState:
    """How far a training has come: all that does not follow from its settings."""

    history: list[Epoch] = field(default_factory=list)
    best: int = 0
    """Index of the best epoch."""
    over: bool = False
    """Whether the stage of the last epoch has ended."""
    features_seconds: float = 0.0
    weights: Arrays = field(default_factory=list)
    """Values of the variables that the stage trains."""
    optimizer: Arrays = field(default_factory=list)
    """Values of the optimizer's variables, its count of steps among them."""
    best_weights: Arrays = field(default_factory=list)
    """As `weights`, after the best epoch."""
    best_logits: Scores = field(default_factory=lambda: np.empty((0, 0), np.float32))
    """Logits of the validation images after the best epoch, shape (N, C)."""

    def count(self, stage: Stage) -> int:
        """Counts the epochs of a stage."""
        return sum(epoch.stage is stage for epoch in self.history)

    def has_ended(self, stage: Stage) -> bool:
        """Returns whether a stage is over."""
        if not self.history:
            return False
        last = self.history[-1].stage
        return list(Stage).index(last) > list(Stage).index(stage) or (last is stage and self.over)

    def add(self, epoch: Epoch, weights: Arrays, optimizer: Arrays, logits: Scores) -> bool:
        """Takes in an epoch, with the values of what it trains, and the logits (N, C) for the validation images.

        Returns whether it is the best so far.
        """
        is_best = not self.history or epoch.is_better_than(self.history[self.best])
        self.history.append(epoch)
        self.weights, self.optimizer = weights, optimizer
        if is_best:
            self.best = len(self.history) - 1
            self.best_weights, self.best_logits = weights, logits
        return is_best

    def waited(self) -> int:
        """Counts the epochs of the last stage since the best one; all of them if that was in an earlier stage.

        In fine-tuning it counts from the first epoch with the best accuracy: a later one that only equals it is kept,
        but ends no wait.
        """
        best, since = self.history[self.best], self.best
        if best.stage is Stage.FINE_TUNING:
            known = [(epoch.stage, epoch.val_accuracy) for epoch in self.history]
            since = known.index((best.stage, best.val_accuracy))
        return min(len(self.history) - 1 - since, self.count(self.history[-1].stage))
