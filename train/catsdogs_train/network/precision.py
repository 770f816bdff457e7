"""Chooses the numbers in which a backbone is computed."""

from collections.abc import Iterator
from contextlib import contextmanager

import keras

from catsdogs_edge.errors import DataError
from catsdogs_edge.runtime.cpu import Cpu
from catsdogs_edge.runtime.imports import without_native_messages
from catsdogs_train.settings import ComputeDtype

_AMPERE = 8.0  # compute capability of the first NVIDIA GPUs that have bfloat16


def choose_dtype(wanted: ComputeDtype) -> ComputeDtype:
    """Replaces `auto` by what suits the hardware; raises `DataError` for float16 on a CPU, which would be slower."""
    capability = _gpu()
    if wanted is ComputeDtype.AUTO:
        if capability is None:
            has_bfloat16 = {"avx512_bf16", "amx_bf16", "bf16"} & Cpu.detect().features
            return ComputeDtype.BFLOAT16 if has_bfloat16 else ComputeDtype.FLOAT32
        return ComputeDtype.BFLOAT16 if capability >= _AMPERE else ComputeDtype.FLOAT16
    if wanted is ComputeDtype.FLOAT16 and capability is None:
        raise DataError("--precision float16 is for GPUs, and there is none: use float32, or auto")
    return wanted


@contextmanager
def dtype_policy_scope(precision: ComputeDtype) -> Iterator[None]:
    """Lets layers that are built in the block compute in a precision; their weights are float32."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32" if precision is ComputeDtype.FLOAT32 else f"mixed_{precision.value}")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def free_memory() -> int | None:
    """Returns the bytes that are free on the first GPU; None without one, or where the backend does not say."""
    if keras.backend.backend() != "jax":
        return None
    import jax  # noqa: PLC0415 - only where it is the backend

    stats = jax.local_devices()[0].memory_stats()
    return stats["bytes_limit"] - stats["bytes_in_use"] if stats else None


def has_gpu() -> bool:
    """Returns whether the backend computes on a GPU."""
    return _gpu() is not None


def _gpu() -> float | None:
    """Returns the compute capability of the first GPU that the backend uses; None without one."""
    if keras.backend.backend() == "jax":
        import jax  # noqa: PLC0415 - only where it is the backend

        device = jax.devices()[0]
        return _number(getattr(device, "compute_capability", "")) if device.platform != "cpu" else None
    import tensorflow as tf  # noqa: PLC0415 - likewise

    with without_native_messages():  # it says at length that there is none
        devices = tf.config.list_physical_devices("GPU")
    if not devices:
        return None
    capability = tf.config.experimental.get_device_details(devices[0]).get("compute_capability", ())
    return _number(".".join(map(str, capability)))


def _number(capability: str) -> float:
    """Reads "8.6"; what is no number, such as AMD's "gfx90a", is a GPU of today."""
    try:
        return float(capability)
    except ValueError:
        return _AMPERE
