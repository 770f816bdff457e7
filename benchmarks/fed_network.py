"""What `benchmarks.feeding` measures, once the backend of Keras is chosen."""

import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import keras
import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.processes import machine
from catsdogs_train.data.arrays import read_array
from catsdogs_train.data.layouts import find_all
from catsdogs_train.data.split import Sample
from catsdogs_train.network.device_batches import DeviceImages, decode_once, fits_device
from catsdogs_train.network.features import make_extractor
from catsdogs_train.network.precision import choose_dtype
from catsdogs_train.network.resnet import build_network, unfreeze
from catsdogs_train.settings import ComputeDtype, Unfreeze
from catsdogs_train.views.augmentation import PUBLISHED, STRONG, Recipe
from catsdogs_train.views.batches import ImageBatches, make_targets
from catsdogs_train.views.prefetch import Viewing

_SIZE = 224  # edge length of the images in pixels

MakeBatches: TypeAlias = Callable[..., ImageBatches]
Work: TypeAlias = Callable[[keras.Model, keras.utils.PyDataset], None]


class _Repeated(keras.utils.PyDataset):  # type: ignore[misc]
    """The first batch of others, as often as they have batches."""

    def __init__(self, batches: ImageBatches) -> None:
        super().__init__()
        self._batch, self._count = batches[0], len(batches)

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        return self._batch


def measure_all(data: Sequence[Path], weights: str, images: int, batch_size: int, sizes: Sequence[int]) -> None:
    """Measures features for the head, and fine-tuning with views of each size; prints a table."""
    classes, labelled = find_all(list(data))
    step = max(len(labelled) // images, 1)  # all classes, in their share
    chosen = labelled[::step][:images]
    samples = [Sample(path, label, "") for path, label in chosen[: len(chosen) // batch_size * batch_size]]
    targets = make_targets(samples, len(classes))
    precision = choose_dtype(ComputeDtype.AUTO)
    network = build_network(len(classes), weights, None, precision)
    backend = f"{precision.value} on {keras.backend.backend()}"
    title = f"{len(samples)} images, batches of {batch_size}, {backend}, {machine()}"
    table = Table("images a second", "views on", "images", "network", "both", "the network waits", title=title)

    def show(make: MakeBatches, recipe: Recipe, size: int | None = None, *, shuffle: bool = False) -> ImageBatches:
        viewing = Viewing(image_size=_SIZE, recipe=recipe, size=size)
        return make(samples, viewing, batch_size, targets=targets, shuffle=shuffle)

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        started = time.perf_counter()
        decode_once(ImageBatches(samples, Viewing(image_size=_SIZE), batch_size), _SIZE, Path(folder, "images.npy"))
        once = len(samples) / (time.perf_counter() - started)
        pixels = read_array(Path(folder, "images.npy"))
        resident = fits_device(pixels)
        device_images = DeviceImages(pixels, resident=resident)

        def measure(name: str, model: keras.Model, work: Work, views: Callable[[MakeBatches], ImageBatches]) -> None:
            work(model, _Repeated(views(ImageBatches).subset(np.arange(2 * batch_size) % len(samples))))  # compiles
            alone = _per_second(partial(work, model), _Repeated(views(ImageBatches)), len(samples))
            ways: dict[str, tuple[MakeBatches, keras.Model]] = {
                "host": (ImageBatches, model),
                "device": (device_images.batches, device_images.add_views(model, precision)),
            }
            for way, (make, learner) in ways.items():
                work(learner, views(make).subset(np.arange(8 * batch_size) % len(samples)))  # compiles, starts threads
                decoding = _per_second(_read, views(make), len(samples))
                both = _per_second(partial(work, learner), views(make), len(samples))
                waits = max(1 - both / alone, 0.0)
                table.add_row(name, way, f"{decoding:.0f}", f"{alone:.0f}", f"{both:.0f}", f"{waits:.0%}")

        measure(f"features for the head, {_SIZE}", make_extractor(network), _ask, partial(show, recipe=PUBLISHED))
        unfreeze(network, Unfreeze.ALL)
        for size in sizes:
            views = partial(show, recipe=STRONG, size=size, shuffle=True)
            measure(f"fine-tuning all, views of {size}", network, _train, views)
        where = "in the memory of the device" if resident else "on the disk"
        Console(width=120).print(table, f"decoded once, at {once:.0f} images a second; for the device they lie {where}")


def _ask(model: keras.Model, batches: keras.utils.PyDataset) -> None:
    model.predict(batches, verbose=0)


def _train(model: keras.Model, batches: keras.utils.PyDataset) -> None:
    if not model.compiled:
        loss = keras.losses.CategoricalCrossentropy(from_logits=True)
        model.compile(optimizer=keras.optimizers.AdamW(1e-6), loss=loss)
    model.fit(batches, verbose=0, shuffle=False)


def _read(batches: keras.utils.PyDataset) -> None:
    for index in range(len(batches)):
        batches[index]


def _per_second(work: Callable[[keras.utils.PyDataset], object], batches: keras.utils.PyDataset, count: int) -> float:
    started = time.perf_counter()
    work(batches)
    return count / (time.perf_counter() - started)
