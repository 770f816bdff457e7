"""Several devices that share each batch: the GPUs of one host, or, on JAX, of several.

In one host, by TensorFlow's `tf.distribute.MirroredStrategy` or Keras' `keras.distribution.DataParallel` on JAX: each
device has all weights and a part of each batch, and they agree on the gradient in every step. On several hosts by JAX
alone (`jax.distributed`): Keras 3 does not support TensorFlow's MultiWorkerMirroredStrategy.
"""

import hashlib
import math
import os
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from catsdogs_edge.errors import DataError
from catsdogs_train.settings import Devices
from catsdogs_train.views.batches import ArrayBatches, BatchShard, ImageBatches, Padded

HOSTS = "KERAS_DISTRIBUTION_NUM_PROCESSES"
"""Environment variable of `keras.distribution.initialize`: how many processes train together."""

_PREDICTED_AT_ONCE = 32  # images in a batch of inference, more or less


@dataclass(frozen=True, slots=True)
class Distribution:
    """The devices that train together, and this process among their hosts."""

    shard: BatchShard = field(default_factory=BatchShard)
    """The part of each batch that this process gets."""
    scope: Callable[[], AbstractContextManager[Any]] = nullcontext
    """Context to build and train a network on all devices."""
    local_scope: Callable[[], AbstractContextManager[Any]] = nullcontext
    """Context to build and ask a network on the devices of this host alone."""

    @property
    def is_chief(self) -> bool:
        """Whether this process writes the run."""
        return self.shard.host == 0

    def check(self, batch_size: int, images: int) -> None:
        """Checks that batches of so many, and an epoch of so many images, can be shared; raises `DataError`."""
        devices = self.shard.devices
        if batch_size % devices:
            raise DataError(
                f"--batch-size {batch_size} cannot be shared by {devices} devices: take "
                f"{max(round(batch_size / devices), 1) * devices}"
            )
        if images < devices:
            raise DataError(f"there are {images} images to train for {devices} devices: use --devices one")

    def barrier(self, name: str) -> None:
        """Waits until all hosts are here."""
        if self.shard.hosts > 1:
            from jax.experimental import multihost_utils  # noqa: PLC0415 - only where it is the backend

            multihost_utils.sync_global_devices(name)

    def is_peer_failure(self, error: BaseException) -> bool:
        """Returns whether an error says that another host is gone: JAX has no exception of its own for it."""
        return self.shard.hosts > 1 and any(word in str(error) for word in ("Gloo", "NCCL", "oordination"))

    def all_equal(self, words: bytes) -> bool:
        """Returns whether all hosts give the same words."""
        mine = np.frombuffer(hashlib.sha256(words).digest(), np.uint8)
        return bool((self._gather(mine[None]) == mine).all())

    def predict(
        self,
        model: keras.Model,
        batches: ImageBatches | NDArray[np.uint8],
        callbacks: Sequence[keras.callbacks.Callback],
    ) -> list[NDArray[np.float32]]:
        """Asks a network of this host about images, in their order; hosts divide them. Returns each output."""
        shard = self.shard
        each = shard.devices // shard.hosts
        size = math.ceil(_PREDICTED_AT_ONCE / each) * each
        everything = batches if isinstance(batches, ImageBatches) else ArrayBatches(batches, size)
        indices = shard.block(everything.count)
        shown = everything if shard.hosts == 1 else everything.subset(indices)
        try:
            with self.local_scope():
                answers = model.predict(Padded(shown, each), callbacks=list(callbacks), verbose=0)
        finally:
            everything.failure = shown.failure
        parts = answers if isinstance(answers, list | tuple) else [answers]
        mine = [np.asarray(part, np.float32)[: len(indices)] for part in parts]
        return [self._gather(part)[: everything.count] for part in mine]

    def _gather(self, mine: NDArray[Any]) -> NDArray[Any]:
        """Joins what all hosts have, one after the other; each has as much."""
        if self.shard.hosts == 1:
            return mine
        from jax.experimental import multihost_utils  # noqa: PLC0415 - likewise

        return np.asarray(multihost_utils.process_allgather(mine, tiled=True))


def assemble(devices: Devices) -> Distribution:
    """Finds the devices to train on, and, where the environment says so, the other hosts; raises `DataError`.

    Several hosts: `keras.distribution.initialize` says how; each runs the same command, with its own
    `KERAS_DISTRIBUTION_PROCESS_ID`, and sees the same images and the same run folder. That is for JAX only.
    """
    wanted = os.environ.get(HOSTS) or "1"
    if not wanted.isdecimal():
        raise DataError(f"{HOSTS} is {wanted!r}, expected a number of processes")
    hosts = int(wanted)
    if keras.backend.backend() != "jax":
        if hosts > 1:
            raise DataError(f"{HOSTS} is {hosts}, but several hosts train on JAX only: set KERAS_BACKEND=jax")
        return _mirrored() if devices is Devices.ALL else Distribution()
    if hosts > 1:
        try:
            keras.distribution.initialize()
        except (RuntimeError, ValueError) as error:
            raise DataError(f"the {hosts} hosts do not find each other: {str(error).splitlines()[0]}") from error
    return _parallel(devices)


def _mirrored() -> Distribution:
    import tensorflow as tf  # noqa: PLC0415 - only where it is the backend

    found = [device.name for device in tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")]
    if len(found) == 1:
        return Distribution()
    strategy = tf.distribute.MirroredStrategy(found)
    return Distribution(BatchShard(len(found)), strategy.scope)


def _parallel(devices: Devices) -> Distribution:
    import jax  # noqa: PLC0415 - likewise

    hosts, host = jax.process_count(), jax.process_index()
    every = jax.devices() if devices is Devices.ALL else [jax.local_devices()[0]]
    if devices is Devices.ONE and hosts > 1:
        every = [next(device for device in jax.devices() if device.process_index == index) for index in range(hosts)]
    if len(every) == 1:
        return Distribution()
    counts = Counter(device.process_index for device in every)
    if len(set(counts.values())) > 1:
        raise DataError(f"the hosts have {', '.join(map(str, counts.values()))} devices: use as many on each")

    def spread(over: Sequence[Any]) -> Callable[[], AbstractContextManager[Any]]:
        names = [f"{device.platform}:{device.id}" for device in over]
        distribution = keras.distribution.DataParallel(devices=names, auto_shard_dataset=False)
        scope: Callable[[], AbstractContextManager[Any]] = distribution.scope
        return scope

    here = [device for device in every if device.process_index == host]
    return Distribution(BatchShard(len(every), hosts, host), spread(every), spread(here) if hosts > 1 else nullcontext)
