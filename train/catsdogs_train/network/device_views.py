"""Computes the pixels of views where the network computes: a GPU would wait for OpenCV on the CPU.

What a view looks like follows from seed, view and index as everywhere (`catsdogs_train.data.augmentation.draw_view`);
only its pixels come from here, on any backend of Keras: a level or two from those of OpenCV.
"""

import math
from typing import Any, TypeAlias

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from catsdogs_edge.images.decode import RgbBatch
from catsdogs_train.data.augmentation import View

PackedViews: TypeAlias = NDArray[np.float32]
"""What views look like, shape (N, 34): a row for each, as `pack` writes it."""

PACKED = 34
"""Numbers in a row of `PackedViews`; the last two say how views are mixed."""

_NOWHERE = 1e6  # pixels
_NO_BARS = (0.0, _NOWHERE, 3 * _NOWHERE)
_SAME_COLOURS = np.eye(3, 4)


def pack(view: View, share: float = 1.0, other: int = 0) -> PackedViews:
    """Writes what a view looks like into a row, shape (34,); sharpness is no part of it.

    `share` of its pixels are its own, the rest those of the view at `other` in the batch.
    """
    bars = view.bars
    first, second = (*(bars.directions if bars else ()), _NO_BARS, _NO_BARS)[:2]
    row = (
        *view.matrix.ravel(), *(_SAME_COLOURS if view.colour is None else view.colour).ravel(),
        *(view.erased or (0, 0, 0, 0)), *(bars.colour if bars else (0, 0, 0)),
        _half_width(bars.thickness) if bars else 0, *first, *second, share, other,
    )  # fmt: skip
    return np.array(row, np.float32)


def _half_width(thickness: int) -> float:
    """Returns half of what OpenCV's anti-aliased lines really cover, in pixels."""
    return 0.69 + (math.ceil(thickness / 2) if thickness > 1 else 0)


class DeviceViews(keras.layers.Layer):  # type: ignore[misc]
    """Draws views of uint8 RGB images (N, S, S, 3); `images` are all of them, for indices to choose from."""

    def __init__(self, images: RgbBatch | None = None) -> None:
        super().__init__(dtype="float32", trainable=False, name="device_views")
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
            views: What they look like, float32 (N, 34); see `pack`.
            points: 0 to V - 1, float32 (N, V): V may change from batch to batch.
        """
        images = source if self._images is None else ops.take(self._images, source, axis=0)
        matrix, colour = ops.reshape(views[:, :6], (-1, 2, 3)), ops.reshape(views[:, 6:18], (-1, 3, 4))
        x, y = points[:, None, :], points[:, :, None]
        shown = ops.round(_warp(images, matrix, x, y))
        shown = ops.einsum("nijc,ndc->nijd", shown, colour[:, :, :3]) + colour[:, None, None, :, 3]
        shown = ops.round(ops.clip(shown, 0, 255))
        left, top, width, height = (views[:, column, None, None] for column in range(18, 22))
        is_erased = (x >= left) & (x < left + width) & (y >= top) & (y < top + height)
        shown = ops.where(is_erased[..., None], ops.mean(shown, axis=(1, 2), keepdims=True), shown)
        middle = (ops.cast(ops.shape(points)[1], "float32")) / 2
        covered = ops.zeros_like(x + y)
        for column in (26, 29):
            angle, first, gap = (views[:, number, None, None] for number in range(column, column + 3))
            distance = (y - middle) * ops.cos(angle) - (x - middle) * ops.sin(angle) - first
            distance = ops.abs(distance - gap * ops.maximum(ops.round(distance / gap), 0))  # from the nearest bar
            covered = ops.maximum(covered, ops.clip(views[:, 25, None, None] + 0.5 - distance, 0, 1))
        covered = ops.where(views[:, 25, None, None] > 0, covered, 0)[..., None]
        shown = (1 - covered) * shown + covered * views[:, None, None, 22:25]
        share = views[:, 32, None, None, None]
        shown = share * shown + (1 - share) * ops.take(shown, ops.cast(views[:, 33], "int32"), axis=0)
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
