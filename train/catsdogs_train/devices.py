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
from catsdogs_train.batches import ArrayBatches, Padded, PictureBatches, Share
from catsdogs_train.settings import Devices

HOSTS = "KERAS_DISTRIBUTION_NUM_PROCESSES"
"""Environment variable of `keras.distribution.initialize`: how many processes train together."""

_PREDICTED_AT_ONCE = 32
"""Pictures in a batch of which nothing is learned, more or less."""


@dataclass(frozen=True, slots=True)
class Team:
    """The devices that train together, and this process among their hosts."""

    share: Share = field(default_factory=Share)
    """What this process gets of each batch."""
    scope: Callable[[], AbstractContextManager[Any]] = nullcontext
    """Enter it to build a network on all of them, and to train it."""
    local_scope: Callable[[], AbstractContextManager[Any]] = nullcontext
    """Enter it to build, and to ask, a network on the devices of this host alone; where there are several hosts."""

    @property
    def leads(self) -> bool:
        """Whether this process writes the run."""
        return self.share.host == 0

    def check(self, batch_size: int, pictures: int) -> None:
        """Sees to it that batches of so many, and an epoch of so many pictures, can be shared.

        Raises:
            DataError: It cannot.
        """
        devices = self.share.devices
        if batch_size % devices:
            raise DataError(
                f"--batch-size {batch_size} cannot be shared by {devices} devices: take "
                f"{max(round(batch_size / devices), 1) * devices}"
            )
        if pictures < devices:
            raise DataError(f"there are {pictures} pictures to train for {devices} devices: use --devices one")

    def wait(self, for_what: str) -> None:
        """Waits until all hosts are here."""
        if self.share.hosts > 1:
            from jax.experimental import multihost_utils  # noqa: PLC0415 - only where it is the backend

            multihost_utils.sync_global_devices(for_what)

    def lost(self, error: BaseException) -> bool:
        """Tells whether an error says that another host is gone: JAX has no exception of its own for it."""
        return self.share.hosts > 1 and any(word in str(error) for word in ("Gloo", "NCCL", "oordination"))

    def agrees(self, words: bytes) -> bool:
        """Tells whether all hosts say the same."""
        mine = np.frombuffer(hashlib.sha256(words).digest(), np.uint8)
        return bool((self._gather(mine[None]) == mine).all())

    def ask(
        self,
        model: keras.Model,
        batches: PictureBatches | NDArray[np.uint8],
        callbacks: Sequence[keras.callbacks.Callback],
    ) -> list[NDArray[np.float32]]:
        """Asks a network about pictures; hosts divide them.

        Args:
            model: With one or several outputs; of this host alone, where there are several.
            batches: Pictures in order, or uint8 RGB of shape (N, S, S, 3).
            callbacks: Such as a bar.

        Returns:
            Each of its outputs, in the order of the pictures, shape (N, ...).
        """
        share = self.share
        each = share.devices // share.hosts
        size = math.ceil(_PREDICTED_AT_ONCE / each) * each
        everything = batches if isinstance(batches, PictureBatches) else ArrayBatches(batches, size)
        places = share.block(everything.count)
        shown = everything if share.hosts == 1 else everything.of(places)
        try:
            with self.local_scope():
                answers = model.predict(Padded(shown, each), callbacks=list(callbacks), verbose=0)
        finally:
            everything.failure = shown.failure
        parts = answers if isinstance(answers, list | tuple) else [answers]
        mine = [np.asarray(part, np.float32)[: len(places)] for part in parts]
        return [self._gather(part)[: everything.count] for part in mine]

    def _gather(self, mine: NDArray[Any]) -> NDArray[Any]:
        """Gives what all hosts have, one after the other; each has as much."""
        if self.share.hosts == 1:
            return mine
        from jax.experimental import multihost_utils  # noqa: PLC0415 - likewise

        return np.asarray(multihost_utils.process_allgather(mine, tiled=True))


def assemble(devices: Devices) -> Team:
    """Finds the devices to train on, and, where the environment says so, the other hosts.

    Several hosts: `keras.distribution.initialize` says how; each runs the same command, with its own
    `KERAS_DISTRIBUTION_PROCESS_ID`, and sees the same pictures and the same run folder.

    Raises:
        DataError: Several hosts, but not on JAX, or they do not find each other.
    """
    wanted = os.environ.get(HOSTS) or "1"
    if not wanted.isdecimal():
        raise DataError(f"{HOSTS} is {wanted!r}, expected a number of processes")
    hosts = int(wanted)
    if keras.backend.backend() != "jax":
        if hosts > 1:
            raise DataError(f"{HOSTS} is {hosts}, but several hosts train on JAX only: set KERAS_BACKEND=jax")
        return _mirrored() if devices is Devices.ALL else Team()
    if hosts > 1:
        try:
            keras.distribution.initialize()
        except (RuntimeError, ValueError) as error:
            raise DataError(f"the {hosts} hosts do not find each other: {str(error).splitlines()[0]}") from error
    return _parallel(devices)


def _scope_of(distribution: Any) -> AbstractContextManager[Any]:
    scope: AbstractContextManager[Any] = distribution.scope()
    return scope


def _mirrored() -> Team:
    import tensorflow as tf  # noqa: PLC0415 - only where it is the backend

    found = [device.name for device in tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")]
    if len(found) == 1:
        return Team()
    strategy = tf.distribute.MirroredStrategy(found)
    return Team(Share(len(found)), strategy.scope)


def _parallel(devices: Devices) -> Team:
    import jax  # noqa: PLC0415 - likewise

    hosts, host = jax.process_count(), jax.process_index()
    every = jax.devices() if devices is Devices.ALL else [jax.local_devices()[0]]
    if devices is Devices.ONE and hosts > 1:
        every = [next(device for device in jax.devices() if device.process_index == place) for place in range(hosts)]
    if len(every) == 1:
        return Team()
    counts = Counter(device.process_index for device in every)
    if len(set(counts.values())) > 1:
        raise DataError(f"the hosts have {', '.join(map(str, counts.values()))} devices: use as many on each")

    def spread(over: Sequence[Any]) -> Callable[[], AbstractContextManager[Any]]:
        names = [f"{device.platform}:{device.id}" for device in over]
        distribution = keras.distribution.DataParallel(devices=names, auto_shard_dataset=False)
        return lambda: _scope_of(distribution)

    here = [device for device in every if device.process_index == host]
    return Team(Share(len(every), hosts, host), spread(every), spread(here) if hosts > 1 else nullcontext)
