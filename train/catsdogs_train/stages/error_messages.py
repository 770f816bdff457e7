"""Turns what breaks a training off, and is not a bug, into one line that says what to do."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from catsdogs_edge.errors import CatsDogsError, DataError, ImageError, MemoryShortageError
from catsdogs_train.network.device_batches import DeviceBatches
from catsdogs_train.views.batches import ImageBatches


@contextmanager
def readable_errors(batches: Sequence[ImageBatches], batch_size: int) -> Iterator[None]:
    """Names the image that could not be read, or a batch size that may fit, whatever the backend makes of it.

    `batches` are all that images are read by; more may be added in the block. Raises `DataError` for an image,
    `MemoryShortageError` where memory is short.
    """
    try:
        yield
    except Exception as error:
        failure = next((item.failure for item in batches if item.failure), None)
        if isinstance(failure, ImageError):
            raise DataError(f"an image is gone or has changed since the start: {failure}") from failure
        if isinstance(error, CatsDogsError) or not _is_shortage(error):
            raise
        advice = f"--batch-size {batch_size // 2}" if batch_size > 1 else "a smaller --image-size"
        if any(isinstance(item, DeviceBatches) for item in batches):
            advice = f"--views-on host or {advice}"
        raise MemoryShortageError(
            f"not enough memory for batches of {batch_size} images: try {advice}, and another --out"
        ) from error


def _is_shortage(error: BaseException) -> bool:
    words = f"{type(error).__name__}: {error}"
    # TensorFlow has an exception of its own for it, JAX only says it.
    return isinstance(error, MemoryError) or "ResourceExhausted" in words or "RESOURCE_EXHAUSTED" in words
