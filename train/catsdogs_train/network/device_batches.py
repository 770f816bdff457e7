"""Feeds a network that draws its views itself: images that were decoded once, and what their views look like."""

import shutil
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from catsdogs_edge.errors import DataError
from catsdogs_edge.images.decode import RgbBatch
from catsdogs_edge.output.files import existing_folder
from catsdogs_train.data.arrays import write_array
from catsdogs_train.network.precision import dtype_policy_scope, free_memory, has_gpu
from catsdogs_train.settings import ComputeDtype, Settings, ViewsOn
from catsdogs_train.views.augmentation import Views
from catsdogs_train.views.batches import ImageBatches, SampleWeights, Targets
from catsdogs_train.views.device_views import PACKED, DeviceViews, pack
from catsdogs_train.views.prefetch import submit_one

_MOST_RESIDENT = 0.2  # share of the device's free memory that images may take; the network comes later
_MOST_OF_DISK = 0.5  # share of the free disk, if nobody chose


def decode_once(batches: ImageBatches, image_size: int, file: Path) -> None:
    """Writes all images, as they are, into an NPY file: uint8 RGB (N, S, S, 3).

    Raises `ImageError` for an image that is gone, `OutputError` where the disk is too small.
    """
    images = (batches[index][0] for index in range(len(batches)))
    write_array(file, (batches.count, image_size, image_size, 3), images)


def choose_views_on(settings: Settings, images: int, devices: int, begun: str | None = None) -> ViewsOn:
    """Replaces `auto` by what suits the hardware, or by what the training was `begun` with.

    Raises `DataError` where the device cannot do what is wanted.
    """
    wanted = settings.views_on
    if wanted is ViewsOn.AUTO and begun:
        wanted = ViewsOn(begun)
    if wanted is ViewsOn.DEVICE and settings.mixup and devices > 1:  # each has a part of a batch, mixes need all of it
        raise DataError("several devices do not mix what they draw themselves: use --views-on host, or --mixup 0")
    if wanted is ViewsOn.AUTO:
        needed = images * 3 * settings.input_size**2
        has_room = needed <= _MOST_OF_DISK * shutil.disk_usage(existing_folder(settings.out)).free
        return ViewsOn.DEVICE if has_gpu() and has_room and not settings.mixup else ViewsOn.HOST
    return wanted


def fits_device(images: RgbBatch) -> bool:
    """Returns whether images find room in the memory of the device, beside the network."""
    free = free_memory()
    return free is not None and images.nbytes <= _MOST_RESIDENT * free


class DeviceBatches(ImageBatches):
    """Batches of images, or of their indices, and of what the views of them look like; see `DeviceViews`.

    `pixels` are all images, uint8 RGB (N, S, S, 3); `resident`: the device has them, and gets their indices alone. The
    other arguments are those of `ImageBatches`.
    """

    def __init__(self, pixels: RgbBatch, *arguments: Any, resident: bool, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._pixels = pixels
        self._resident = resident

    def __getitem__(self, index: int) -> tuple[dict[str, Any], Targets, SampleWeights]:
        """Returns what `DeviceImages.add_views` takes, targets of shape (N, C) and weights of shape (N,)."""
        ((source, views),) = self._take(index)
        targets, weights, mix = self._answers(index)
        points = np.arange(self._viewing.view_size, dtype=np.float32)
        shown = {"source": source, "views": pack(views, mix), "points": np.tile(points, (len(views), 1))}
        return shown, targets, weights

    def _submit(self, indices: list[int]) -> list[Future[Any]]:
        return [submit_one(self._prepare, indices)]

    def _prepare(self, indices: list[int]) -> tuple[RgbBatch | NDArray[np.int32], Views]:
        chosen = np.array(indices, np.int32)
        return chosen if self._resident else np.asarray(self._pixels[chosen]), self._viewing.draw(indices)


class DeviceImages:
    """Images that were decoded once, and the layer that draws their views on the device.

    `pixels` are all of them, uint8 RGB (N, S, S, 3); `resident`: they lie in the memory of the device; `mixes`: see
    `DeviceViews`.
    """

    def __init__(self, pixels: RgbBatch, *, resident: bool, mixes: bool = False) -> None:
        self._pixels = pixels
        self._layer = DeviceViews(pixels if resident else None, mixes=mixes)

    def batches(self, *arguments: Any, **named: Any) -> DeviceBatches:
        """Makes batches of them; arguments are those of `ImageBatches`."""
        return DeviceBatches(self._pixels, *arguments, resident=self._layer.has_images, **named)

    def add_views(self, model: keras.Model, precision: ComputeDtype) -> keras.Model:
        """Puts the drawing of views before a model of images, uint8 RGB (N, V, V, 3); weights are shared.

        It takes what `DeviceBatches` yields.
        """
        resident = self._layer.has_images
        shape, dtype = ((), "int32") if resident else (self._pixels.shape[1:], "uint8")
        with dtype_policy_scope(precision):  # for the scaled loss that Keras adds to a float16 model
            inputs = {
                "source": keras.Input(shape, dtype=dtype, name="source"),
                "views": keras.Input((PACKED,), name="views"),
                "points": keras.Input((None,), name="points"),
            }
            return keras.Model(inputs, model(self._layer(**inputs)), name=model.name)
