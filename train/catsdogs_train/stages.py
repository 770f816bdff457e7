"""The stages of a training: the output layer on a frozen backbone, then, if asked for, a part of the backbone, too."""

import logging
import math
import time
from collections.abc import Callable, Sequence
from functools import partial

import keras
import numpy as np

from catsdogs_edge.contract import NEITHER, has_neither
from catsdogs_edge.errors import DataError
from catsdogs_edge.files import staged
from catsdogs_edge.image import RgbBatch
from catsdogs_edge.metrics import log_loss
from catsdogs_edge.scores import Scores, softmax
from catsdogs_train import decoding
from catsdogs_train.augment import PUBLISHED, STRONG, Recipe
from catsdogs_train.batches import PictureBatches, make_targets, make_weights
from catsdogs_train.board import Board
from catsdogs_train.checkpoint import Checkpoint, Epoch, Stage, Standing
from catsdogs_train.dataset import Sample, Split
from catsdogs_train.devices import Team
from catsdogs_train.failures import explained
from catsdogs_train.familiarity import attach
from catsdogs_train.features import (
    HEAD_WIDTH,
    FeatureBatches,
    Features,
    compute,
    extract,
    make_extractor,
    read_features,
    split_network,
)
from catsdogs_train.model import assign, build_network, portable, unfreeze, values
from catsdogs_train.others import Learned, learn
from catsdogs_train.progress import Progress
from catsdogs_train.report import Report
from catsdogs_train.settings import Precision, Settings

_log = logging.getLogger(__name__)

HEAD_RATE = 1e-3
"""Learning rate of Adam on the output layer alone."""

WARM_UP = 0.1
"""Share of the steps of fine-tuning in which the learning rate rises; then it falls along a cosine, to zero."""

WEIGHT_DECAY = 0.01
"""Of AdamW (Loshchilov and Hutter, "Decoupled Weight Decay Regularization", 2019); biases are left alone."""


class Training:
    """One training, from where it stands to its end.

    Args:
        settings: What was asked for.
        split: The pictures.
        others: Pictures that show none of the classes; may be none.
        precision: Of the backbone; not `auto`.
        checkpoint: Where to go on, and to write down how far it has come.
        report: The rest of the run folder.
        team: Devices that share each batch; make it, and let it run, in their scope.

    Raises:
        DataError: The weights do not fit.
    """

    def __init__(
        self,
        settings: Settings,
        split: Split,
        others: Sequence[Sample],
        precision: Precision,
        checkpoint: Checkpoint,
        report: Report,
        team: Team,
    ) -> None:
        self._settings = settings
        self._split = split
        self._others = others
        self._checkpoint = checkpoint
        self._report = report
        self._team = team
        self._standing = Standing()
        self._network = build_network(len(split.classes), settings.weights, None, precision)
        self._asked = self._network  # answers, where the network itself cannot: spread over several hosts
        if team.share.hosts > 1:
            with team.local_scope():
                self._asked = build_network(len(split.classes), "none", None, precision)
        self._board: Board | None = None
        self._bar = Progress()
        self._targets = make_targets(split.train, len(split.classes))
        self._weights = make_weights(split.train, len(split.classes), balance=settings.balance)
        self._truth = np.array([sample.label for sample in split.val], np.int64)
        self._batches = partial(
            PictureBatches,
            image_size=settings.image_size,
            batch_size=settings.batch_size,
            workers=settings.workers,
        )
        self._val_batches = self._batches(split.val, make_targets(split.val, len(split.classes)))
        self._watched = [self._val_batches]

    def run(self) -> Epoch:
        """Trains what is left to train, and ends the run folder.

        Returns:
            The figures of the best epoch.

        Raises:
            DataError: A picture or the checkpoint cannot be read, the loss is not a number, or TensorBoard is asked
                for and missing.
            OutputError: The run folder cannot be written.
            MemoryShortageError: A batch does not fit into memory, or a process that decodes has ended.
        """
        self._standing = standing = self._checkpoint.load()
        if standing.history:
            done = standing.history[-1]
            _log.info("going on after epoch %d (%s)", done.epoch, done.stage.value)
        if self._settings.tensorboard and self._team.leads:
            self._board = Board(self._settings.out)
        try:
            with self._bar, explained(self._watched, self._settings.batch_size):
                if not self._has_ended(Stage.HEAD):
                    self._train_head()
                if self._settings.fine_tune_epochs and not self._has_ended(Stage.FINE_TUNING):
                    self._fine_tune()
                self._finish()
        finally:
            decoding.stop()
            if self._board:
                self._board.close()
        return standing.history[standing.best]

    def _finish(self) -> None:
        """Ends the run folder."""
        if self._standing.history[-1].stage is Stage.FINE_TUNING:
            unfreeze(self._network, self._settings.unfreeze)
        assign(self._network.trainable_variables, self._standing.best_weights)
        learned = self._learn_familiarity()
        network = self._portable()
        if learned:
            network = attach(network, learned.detector)
        if self._team.leads:
            with staged(self._settings.out) as folder:
                self._report.finish(folder, self._standing, network, learned)

    def _learn_familiarity(self) -> Learned | None:
        """Learns to tell pictures of the classes from others, with the network as it is now."""
        settings, split = self._settings, self._split
        if has_neither(split.classes):
            _log.info("there is a class '%s', so no familiarity is learned", NEITHER)
            return None
        _log.info("learning what is familiar, with %d pictures of neither", len(self._others))
        extractor = self._make_extractor()

        def ask(batches: PictureBatches | RgbBatch) -> Features:
            if isinstance(batches, PictureBatches):
                self._watched[1:] = [batches]
            return extract(extractor, batches, [self._bar.watch("familiarity")], self._team)

        if settings.views and self._standing.history[-1].stage is Stage.HEAD:  # asked already, with this backbone
            file = self._checkpoint.features("val")
            compute(extractor, self._val_batches, file, [self._bar.watch("features to validate on")], self._team)
            val_features = np.array(read_features(file))
        else:
            val_features = ask(self._val_batches)
        return learn(settings, split.train, self._others, val_features, ask)

    def _has_ended(self, stage: Stage) -> bool:
        if not self._standing.history:
            return False
        last = self._standing.history[-1]
        return list(Stage).index(last.stage) > list(Stage).index(stage) or (last.stage is stage and self._standing.over)

    def _train_head(self) -> None:
        """Lets the output layer learn: on features of a few views, computed once, or on new views in each epoch."""
        settings = self._settings
        optimizer = keras.optimizers.Adam(HEAD_RATE)
        if not settings.views:
            self._fit(Stage.HEAD, self._network, optimizer, partial(self._views, recipe=PUBLISHED), self._validate)
            return
        _, learner = split_network(self._network)
        count = min(settings.views, settings.epochs)
        self._compute_features(count)
        files = [self._checkpoint.features(str(view)) for view in range(count)]

        def batches(epoch: int) -> FeatureBatches:
            arguments = self._targets, self._weights, settings.batch_size, settings.seed
            return FeatureBatches(files[epoch % count], *arguments, epoch, self._team.share)

        def validate() -> Scores:
            features = np.array(
                read_features(self._checkpoint.features("val"))[:, :HEAD_WIDTH]
            )  # a copy: no file is open
            kernel, bias = learner.get_weights()
            return np.asarray(features @ kernel + bias, np.float32)

        self._fit(Stage.HEAD, learner, optimizer, batches, validate)

    def _compute_features(self, views: int) -> None:
        """Asks the backbone once for each view, unless that was done before."""
        _log.info(
            "asking the backbone once: %d x %d views to train, %d pictures to validate",
            views, len(self._split.train), len(self._split.val),
        )  # fmt: skip
        started = time.perf_counter()
        extractor = self._make_extractor()
        bar = [self._bar.watch("features to validate on")]
        compute(extractor, self._val_batches, self._checkpoint.features("val"), bar, self._team)
        for view in range(views):
            batches = self._views(view, PUBLISHED, shuffle=False)
            bar = [self._bar.watch(f"features of view {view + 1} of {views}")]
            compute(extractor, batches, self._checkpoint.features(str(view)), bar, self._team)
        self._standing.features_seconds += time.perf_counter() - started

    def _fine_tune(self) -> None:
        """Lets a part of the backbone learn, at a low rate."""
        settings, network, standing = self._settings, self._network, self._standing
        if not standing.count(Stage.FINE_TUNING):
            assign(network.trainable_variables, standing.best_weights)
            self._write(self._portable())  # epochs on features, which take no time, do not
        unfreeze(network, settings.unfreeze)
        if not standing.count(Stage.FINE_TUNING):
            standing.best_weights = values(network.trainable_variables)

        def batches(epoch: int) -> PictureBatches:
            return self._views(settings.epochs + epoch, STRONG, size=settings.view_size, mixup=settings.mixup)

        steps = settings.fine_tune_epochs * len(batches(0))
        warm_up = math.ceil(WARM_UP * steps)
        rate = keras.optimizers.schedules.CosineDecay(
            settings.fine_tune_rate / warm_up,
            max(steps - warm_up, 1),
            warmup_target=settings.fine_tune_rate,
            warmup_steps=warm_up,
        )
        optimizer = keras.optimizers.AdamW(rate, weight_decay=WEIGHT_DECAY)
        optimizer.exclude_from_weight_decay(var_names=["bias"])
        self._fit(Stage.FINE_TUNING, network, optimizer, batches, self._validate)

    def _portable(self) -> keras.Model:
        return portable(self._network, self._settings.image_size)

    def _views(
        self, view: int, recipe: Recipe, *, size: int | None = None, shuffle: bool = True, mixup: float = 0.0
    ) -> PictureBatches:
        """Gives one view of each training picture."""
        batches = self._batches(
            self._split.train,
            self._targets,
            weights=self._weights,
            recipe=recipe,
            view_size=size,
            seed=self._settings.seed,
            view=view,
            shuffle=shuffle,
            mixup=mixup,
            share=self._team.share if shuffle else None,
        )
        self._watched[1:] = [batches]
        return batches

    def _validate(self) -> Scores:
        """Asks the whole network about the validation pictures."""
        self._sync()
        (logits,) = self._team.ask(self._asked, self._val_batches, [self._bar.watch("validating")])
        return logits

    def _make_extractor(self) -> keras.Model:
        """Gives what computes features, with the network as it is now."""
        self._sync()
        with self._team.local_scope():
            return make_extractor(self._asked)

    def _sync(self) -> None:
        """Lets the network that is asked know what the other one has learned."""
        if self._asked is not self._network:
            self._asked.set_weights(self._network.get_weights())

    def _fit(
        self,
        stage: Stage,
        learner: keras.Model,
        optimizer: keras.optimizers.Optimizer,
        batches: Callable[[int], keras.utils.PyDataset],
        validate: Callable[[], Scores],
    ) -> None:
        """Trains the epochs of a stage that are left, and writes down each of them.

        Args:
            stage: Which.
            learner: What is trained: the network, or its output layer.
            optimizer: A new one.
            batches: Gives those of an epoch of the stage, counted from 0.
            validate: Gives logits for the validation pictures, shape (N, C).
        """
        settings, standing = self._settings, self._standing
        is_head = stage is Stage.HEAD
        epochs = settings.epochs if is_head else settings.fine_tune_epochs
        done = standing.count(stage)
        smoothing = 0.0 if is_head else settings.label_smoothing
        loss = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=smoothing)
        learner.compile(optimizer=optimizer, loss=loss, metrics=["accuracy"])
        optimizer = learner.optimizer  # in float16, Keras has put one that scales the loss around it
        optimizer.build(learner.trainable_variables)
        if done:
            assign(learner.trainable_variables, standing.weights)
            assign(optimizer.variables, standing.optimizer)
        for number in range(done, epochs):
            bar = self._bar.watch(f"{stage.value}, epoch {number + 1} of {epochs}")
            started = time.perf_counter()
            # One call for each epoch: what is shown follows from its number. The batches have an order of their own.
            figures = learner.fit(batches(number), callbacks=[bar], verbose=0, shuffle=False).history
            trained = time.perf_counter() - started
            logits = validate()
            epoch = Epoch(
                epoch=len(standing.history) + 1,
                stage=stage,
                accuracy=figures["accuracy"][0],
                loss=figures["loss"][0],
                val_accuracy=float(np.mean(logits.argmax(axis=1) == self._truth)),
                val_loss=log_loss(softmax(logits), self._truth),
                seconds=time.perf_counter() - started,
                pictures_per_second=len(self._split.train) / trained,
            )
            to_come = epochs - number + (settings.fine_tune_epochs if is_head else 0)
            _log.info("epoch %d of %d: %s", epoch.epoch, len(standing.history) + to_come, epoch.describe())
            if not math.isfinite(epoch.loss + epoch.val_loss):
                raise DataError(
                    f"the loss of epoch {epoch.epoch} is not a number: the weights of --weights are no ImageNet "
                    "weights, or --precision is too low; what was trained before is kept, train anew in another --out"
                )
            is_best = standing.add(epoch, values(learner.trainable_variables), values(optimizer.variables), logits)
            standing.over = number + 1 == epochs or standing.waited() == settings.patience
            if self._board:
                self._board.add(epoch)
            if self._team.leads:
                self._checkpoint.save(standing)  # first: where a model is and no checkpoint, a training is done
            if learner is self._network:
                self._write(self._portable() if is_best else None)
            if standing.over:
                break
        assign(learner.trainable_variables, standing.best_weights)

    def _write(self, network: keras.Model | None) -> None:
        if not self._team.leads:
            return
        with staged(self._settings.out) as folder:
            self._report.write(folder, self._standing, network)
