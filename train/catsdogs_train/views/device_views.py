"""Computes the pixels of views where the network computes: a GPU would wait for OpenCV on the CPU.

What a view looks like follows from seed, view and index as everywhere (`catsdogs_train.views.augmentation.draw_views`);
only its pixels come from here, on any backend of Keras: a level or two from those of OpenCV.
"""

from typing import Any, TypeAlias

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from catsdogs_edge.images.decode import RgbBatch
from catsdogs_train.views.augmentation import VIEW_DTYPE, Views
from catsdogs_train.views.batches import Mix

PackedViews: TypeAlias = NDArray[np.float32]
"""What views look like and how they are mixed, shape (N, 35): a row for each, as `pack` writes it."""

PACKED = VIEW_DTYPE.itemsize // 4 + 2
"""Numbers in a row of `PackedViews`."""

# Where in a row they begin
_AT = {name: offset // 4 for name, (_, offset, *_) in (VIEW_DTYPE.fields or {}).items()}


def pack(views: Views, mix: Mix) -> PackedViews:
    """Writes what views look like into rows; sharpness is not shown."""
    rows = views.view(np.float32).reshape(len(views), -1)
    return np.column_stack([rows, np.full(len(views), mix.share), mix.other]).astype(np.float32)


class DeviceViews(keras.layers.Layer):  # type: ignore[misc]
    """Draws views of uint8 RGB images (N, S, S, 3).

    `images` are all of them, for indices to choose from. Where `mixes`, views are mixed with others of the batch, which
    must be whole: of several devices, each has a part.
    """

    def __init__(self, images: RgbBatch | None = None, *, mixes: bool = False) -> None:
        super().__init__(dtype="float32", trainable=False, name="device_views")
        self._mixes = mixes
        self._images = None
        if images is not None:  # in the memory of the device
            self._images = self.add_weight(
                shape=images.shape, initializer="zeros", dtype="uint8", trainable=False, name="images"
            )
            self._images.assign(images)

    @property
    def has_images(self) -> bool:
        """Whether they are in the memory of the device."""
        return self._images is not None

    def call(self, source: Any, views: Any, points: Any) -> Any:
        """Returns the views, uint8 RGB (N, V, V, 3).

        Args:
            source: Images, uint8 RGB (N, S, S, 3); or their indices, int32 (N,).
            views: What they look like, float32 (N, 35); see `pack`.
            points: 0 to V - 1, float32 (N, V): V may change from batch to batch.
        """
        images = source if self._images is None else ops.take(self._images, source, axis=0)

        def of(name: str, number: int = 0) -> Any:
            """Returns a number of each view, to be spread over its pixels: shape (N, 1, 1)."""
            return views[:, _AT[name] + number, None, None]

        x, y = points[:, None, :], points[:, :, None]
        matrix = ops.reshape(views[:, : _AT["colour"]], (-1, 2, 3))
        colour = ops.reshape(views[:, _AT["colour"] : _AT["erased"]], (-1, 3, 4))
        shown = ops.round(_warp(images, matrix, x, y))
        shown = ops.einsum("nijc,ndc->nijd", shown, colour[:, :, :3]) + colour[:, None, None, :, 3]
        shown = ops.round(ops.clip(shown, 0, 255))
        left, top, width, height = (of("erased", number) for number in range(4))
        is_erased = (x >= left) & (x < left + width) & (y >= top) & (y < top + height)
        shown = ops.where(is_erased[..., None], ops.mean(shown, axis=(1, 2), keepdims=True), shown)
        middle, thickness = ops.cast(ops.shape(points)[1], "float32") / 2, of("thickness")
        # Half of what OpenCV's anti-aliased lines really cover
        reach = 0.69 + ops.where(thickness > 1, ops.ceil(thickness / 2), 0)
        covered = ops.zeros_like(x + y)
        for direction in range(2):
            angle, first, gap = (of("bars", 3 * direction + number) for number in range(3))
            distance = (y - middle) * ops.cos(angle) - (x - middle) * ops.sin(angle) - first
            distance = ops.abs(distance - gap * ops.maximum(ops.round(distance / gap), 0))  # from the nearest bar
            covered = ops.maximum(covered, ops.clip(reach + 0.5 - distance, 0, 1))
        covered = ops.where(thickness > 0, covered, 0)[..., None]
        bar_colour = views[:, None, None, _AT["bar_colour"] : _AT["bar_colour"] + 3]
        shown = (1 - covered) * shown + covered * bar_colour
        if self._mixes:
            share, other = views[:, PACKED - 2, None, None, None], ops.cast(views[:, PACKED - 1], "int32")
            shown = share * shown + (1 - share) * ops.take(shown, other, axis=0)
        return ops.cast(ops.round(ops.clip(shown, 0, 255)), "uint8")


def _warp(images: Any, matrix: Any, x: Any, y: Any) -> Any:
    """Samples images (N, S, S, 3) between their pixels, bilinearly; outside, the edge is repeated."""
    edge = ops.shape(images)[1]
    pixels = ops.reshape(images, (-1, edge * edge, 3))
    size = ops.shape(x)[2]

    def place(row: int) -> tuple[Any, Any, Any]:
        """Returns the pixels before and after each point, and how far it is from the first."""
        across, down, offset = (matrix[:, row, column, None, None] for column in range(3))
        exact = ops.clip(across * x + down * y + offset, 0, edge - 1)
        before = ops.floor(exact)
        return ops.cast(before, "int32"), ops.cast(ops.minimum(before + 1, edge - 1), "int32"), exact - before

    def sample(row: Any, column: Any) -> Any:
        chosen = ops.reshape(row * edge + column, (-1, size * size, 1))
        taken = ops.take_along_axis(pixels, ops.broadcast_to(chosen, (*ops.shape(chosen)[:2], 3)), axis=1)
        return ops.cast(ops.reshape(taken, (-1, size, size, 3)), "float32")

    left, right, across = place(0)
    top, bottom, down = place(1)
    across, down = across[..., None], down[..., None]
    above = (1 - across) * sample(top, left) + across * sample(top, right)
    below = (1 - across) * sample(bottom, left) + across * sample(bottom, right)
    return (1 - down) * above + down * below
