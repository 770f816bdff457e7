import pytest
import tensorflow as tf

from catsdogs_edge.errors import DataError, MemoryShortageError
from catsdogs_train.stages.error_messages import readable_errors


def test_what_does_not_fit_into_memory_says_what_to_try() -> None:
    """A tensor of 2**48 bytes: TensorFlow's own exception, as a GPU that is full gives it, after ten seconds."""
    with pytest.raises(MemoryShortageError, match="batches of 64 images: try --batch-size 32"), readable_errors([], 64):
        tf.zeros((2**20, 2**20, 2**6))


@pytest.mark.parametrize(("batch", "advice"), [(8, "try --batch-size 4"), (1, "smaller --image-size")])
def test_jax_only_says_so(batch: int, advice: str) -> None:
    jax = pytest.importorskip("jax")
    with pytest.raises(MemoryShortageError, match=advice), readable_errors([], batch):
        jax.numpy.zeros((2**20, 2**20, 2**6)).block_until_ready()


def test_other_failures_are_left_as_they_are() -> None:
    with pytest.raises(ZeroDivisionError), readable_errors([], 8):
        print(1 / 0)  # noqa: T201
    with pytest.raises(DataError, match="as it is"), readable_errors([], 8):
        raise DataError("as it is")
