"""What the stages of a training share."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from catsdogs_edge.images.decode import RgbBatch
from catsdogs_edge.model.scores import Scores
from catsdogs_edge.output.files import atomic_files
from catsdogs_train.data.arrays import is_whole, read_array
from catsdogs_train.data.outliers import choose_exposed
from catsdogs_train.data.split import Sample, Split
from catsdogs_train.network.device_batches import DeviceImages, decode_once, fits_device
from catsdogs_train.network.distribution import Distribution
from catsdogs_train.network.features import make_extractor
from catsdogs_train.network.resnet import build_network, build_twin, to_inference_model
from catsdogs_train.network.student import Student
from catsdogs_train.run.checkpoint import Checkpoint
from catsdogs_train.run.earlier_run import EarlierRun
from catsdogs_train.run.history import Stage, TrainingState
from catsdogs_train.run.run_folder import RunFolderWriter
from catsdogs_train.run.tensorboard import TensorBoardWriter
from catsdogs_train.settings import ComputeDtype, Settings, ViewsOn
from catsdogs_train.stages.progress import Progress
from catsdogs_train.views.augmentation import Recipe
from catsdogs_train.views.batches import ImageBatches, make_sample_weights, make_targets
from catsdogs_train.views.prefetch import Viewing

_log = logging.getLogger(__name__)

_EXPOSED_WEIGHT = 0.5  # what an image of neither counts, as in Hendrycks et al.


def make_batches(
    settings: Settings, samples: Sequence[Sample], recipe: Recipe | None = None, image_size: int | None = None
) -> ImageBatches:
    """Makes batches of images to ask a network about, in their order; of another size than the settings' if asked."""
    viewing = Viewing(image_size=image_size or settings.input_size, recipe=recipe, seed=settings.seed)
    return ImageBatches(samples, viewing, settings.batch_size)


@dataclass(frozen=True, slots=True)
class Prepared:
    """What is known before a network is built."""

    split: Split
    outliers: Sequence[Sample]
    """Images of neither."""
    unlabelled: Sequence[Sample]
    """Images that only a teacher says something about."""
    other_folders: Sequence[Path]
    """Where those of neither are."""
    teacher: EarlierRun | None
    earlier: EarlierRun | None
    """The run that it goes on from."""
    precision: ComputeDtype
    views_on: ViewsOn


class TrainingContext:
    """A network, its images and how far it has come; make it, and use it, in the scope of `distribution`.

    Attributes:
        network: What is trained.
        precision: Of its backbone while it is.
        student: The same, and its teacher; None where there is none.
        earlier: The run that it goes on from; None where there is none.
        state: How far it has come.
        targets, sample_weights: Of what is shown, float32 (N, C) and (N,); zero where there is no label.
        truth: Labels of the validation images, int64 (N,).
        val_images: These, as they are.
        current_batches: All that images are read by now, so that one that fails can be named.
        board: For TensorBoard, if it is asked for.
    """

    def __init__(
        self,
        settings: Settings,
        prepared: Prepared,
        checkpoint: Checkpoint,
        run: RunFolderWriter,
        distribution: Distribution,
        student: Student | None,
    ) -> None:
        split, precision = prepared.split, prepared.precision
        classes = len(split.classes)
        self.settings, self.split, self.outliers = settings, split, prepared.outliers
        self.checkpoint, self.run, self.distribution = checkpoint, run, distribution
        self.progress = Progress()
        self.state = TrainingState()
        self.student = student
        self.earlier = prepared.earlier
        self.network = student.network if student else build_network(classes, settings.weights, None, precision)
        self._shown = [*split.train, *prepared.unlabelled]
        self._exposed: list[Sample] = []
        if settings.tuning_epochs:  # a teacher has something to say about each
            self._exposed = choose_exposed(prepared.outliers, len(split.train), all_of_them=student is not None)
        self.precision, self._views_on = precision, prepared.views_on
        self._device_images: DeviceImages | None = None
        self._replica = self.network  # answers, where the network itself cannot: spread over several hosts
        if distribution.shard.hosts > 1:
            with distribution.local_scope():
                self._replica = build_twin(self.network, None, precision)
        rest = len(self._shown) - len(split.train)  # their answers count nothing
        self.targets = np.pad(make_targets(split.train, classes), ((0, rest), (0, 0)))
        self.sample_weights = np.pad(make_sample_weights(split.train, classes, balance=settings.balance), (0, rest))
        self.truth = np.array([sample.label for sample in split.val], np.int64)
        self.val_images: ImageBatches | RgbBatch = make_batches(settings, split.val)
        self.current_batches = [self.val_images]
        self.board: TensorBoardWriter | None = None

    def prepare_images(self) -> None:
        """Decodes all images, once, where a device draws the views; does nothing where the CPU does."""
        if self._views_on is ViewsOn.HOST:
            return
        train = self._decode("train", [*self._shown, *self._exposed])
        self.val_images = self._decode("val", self.split.val)
        is_resident = self.distribution.shard.hosts == 1 and fits_device(train)
        _log.info("views are drawn on the device%s", ", which has all images" if is_resident else "")
        self._device_images = DeviceImages(train, resident=is_resident, mixes=self.settings.mixup > 0)

    def _decode(self, name: str, samples: Sequence[Sample]) -> RgbBatch:
        file = self.checkpoint.images_file(name)
        if not is_whole(file):
            _log.info("decoding %d images once (%s)", len(samples), name)
            if self.distribution.is_chief:
                decode_once(self.remember_batches(make_batches(self.settings, samples)), self.settings.input_size, file)
        self.distribution.barrier(f"{file.name} is written")
        return read_array(file)

    def add_views(self, model: keras.Model) -> keras.Model:
        """Returns a model that learns from, or answers for, what `make_views` yields."""
        return self._device_images.add_views(model, self.precision) if self._device_images else model

    @property
    def has_exposed(self) -> bool:
        """Whether the backbone learned from images of neither."""
        return bool(self._exposed) and self.state.count(Stage.HEAD) < len(self.state.history)

    def make_views(
        self,
        view: int,
        recipe: Recipe,
        *,
        size: int | None = None,
        shuffle: bool = True,
        mixup: float = 0.0,
        exposed: bool = False,
    ) -> ImageBatches:
        """Makes batches of one view of each training image, and of those that only a teacher says something about.

        If `exposed`, images of neither are among them, and all classes are equally right: outlier exposure (Hendrycks
        et al., "Deep Anomaly Detection with Outlier Exposure", 2019).
        """
        settings, of_neither = self.settings, self._exposed if exposed else []
        more = len(of_neither)
        viewing = Viewing(image_size=settings.input_size, recipe=recipe, size=size, seed=settings.seed, view=view)
        make = self._device_images.batches if self._device_images else ImageBatches
        batches = make(
            [*self._shown, *of_neither],
            viewing,
            settings.batch_size,
            targets=np.pad(self.targets, ((0, more), (0, 0)), constant_values=1 / self.targets.shape[1]),
            sample_weights=np.pad(self.sample_weights, (0, more), constant_values=_EXPOSED_WEIGHT),
            shuffle=shuffle,
            mixup=mixup,
            shard=self.distribution.shard if shuffle else None,
        )
        return self.remember_batches(batches)

    def remember_batches(self, batches: ImageBatches) -> ImageBatches:
        """Returns what is to be read from now on, beside the validation images, and notes it in `current_batches`."""
        self.current_batches[1:] = [batches]
        return batches

    def validate(self) -> Scores:
        """Returns the whole network's logits for the validation images, shape (N, C)."""
        bar = self.progress.callback("validating")
        (logits,) = self.distribution.predict(self._synced_replica(), self.val_images, [bar])
        return logits

    def make_extractor(self) -> keras.Model:
        """Makes the model that computes features, with the network as it is now."""
        replica = self._synced_replica()
        with self.distribution.local_scope():
            return make_extractor(replica)

    def to_inference_model(self) -> keras.Model:
        """Returns the network as it is now, as it is saved."""
        return to_inference_model(self.network, self.settings.input_size)

    def write_run(self, network: keras.Model | None) -> None:
        """Writes the run folder as it is now; `network` is None where its file is there already."""
        if self.distribution.is_chief:
            with atomic_files(self.settings.out) as folder:
                self.run.write(folder, self.state, network)

    def _synced_replica(self) -> keras.Model:
        """Lets the network that is asked know what the other one has learned."""
        if self._replica is not self.network:
            self._replica.set_weights(self.network.get_weights())
        return self._replica
