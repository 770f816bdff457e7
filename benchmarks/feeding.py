"""Does a GPU wait for images? The same training with them, without the network, and without decoding.

    python -m benchmarks.feeding data/train more/ --weights FILE
    KERAS_BACKEND=jax python -m benchmarks.feeding data/train more/ --weights FILE --batch-size 64 --workers 0,8

"images" decodes and draws views, and asks no network; "network" sees one batch, over and over; "both" is what
`catsdogs-train` does. Where "both" is slower than "network", the network waits, for the share that the table names.
"""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from benchmarks.processes import machine
from catsdogs_train.backend import choose_backend


def compare(
    data: Annotated[list[Path], typer.Argument(help="Folders or zip files of images.")],
    weights: Annotated[str, typer.Option(help="As for catsdogs-train.")] = "none",
    images: Annotated[int, typer.Option(help="So many of them.")] = 2000,
    batch_size: Annotated[int, typer.Option(help="Images in one step.")] = 32,
    sizes: Annotated[str, typer.Option(help="Edge lengths of the views for fine-tuning.")] = "160,224",
    workers: Annotated[str, typer.Option(help="Processes that decode, 0 for threads; several to compare.")] = "0",
) -> None:
    """Feed a network in three ways and print a table."""
    choose_backend()
    import keras  # noqa: PLC0415 - its backend is chosen by now

    from catsdogs_edge.images.decode import RgbBatch  # noqa: PLC0415
    from catsdogs_train.data.augmentation import PUBLISHED, STRONG, Recipe  # noqa: PLC0415
    from catsdogs_train.data.batches import ImageBatches, SampleWeights, Targets, make_targets  # noqa: PLC0415
    from catsdogs_train.data.layouts import find_all  # noqa: PLC0415
    from catsdogs_train.data.prefetch import Viewing  # noqa: PLC0415
    from catsdogs_train.data.split import Sample  # noqa: PLC0415
    from catsdogs_train.network.features import make_extractor  # noqa: PLC0415
    from catsdogs_train.network.precision import choose_dtype  # noqa: PLC0415
    from catsdogs_train.network.resnet import build_network, unfreeze  # noqa: PLC0415
    from catsdogs_train.settings import ComputeDtype, Unfreeze  # noqa: PLC0415

    class Repeated(keras.utils.PyDataset):  # type: ignore[misc]
        """The first batch of others, as often as they have batches."""

        def __init__(self, batches: ImageBatches) -> None:
            super().__init__()
            self._batch, self._count = batches[0], len(batches)

        def __len__(self) -> int:
            return self._count

        def __getitem__(self, index: int) -> tuple[RgbBatch, Targets, SampleWeights]:
            return self._batch

    classes, labelled = find_all(data)
    step = max(len(labelled) // images, 1)  # all classes, in their share
    chosen = labelled[::step][:images]
    samples = [Sample(path, label, "") for path, label in chosen[: len(chosen) // batch_size * batch_size]]
    targets = make_targets(samples, len(classes))
    precision = choose_dtype(ComputeDtype.AUTO)
    network = build_network(len(classes), weights, None, precision)

    def show(recipe: Recipe, size: int | None = None, *, shuffle: bool = False, workers: int = 0) -> ImageBatches:
        viewing = Viewing(image_size=224, recipe=recipe, size=size)
        return ImageBatches(samples, viewing, batch_size, targets=targets, shuffle=shuffle, workers=workers)

    def read(batches: keras.utils.PyDataset) -> None:
        for index in range(len(batches)):
            batches[index]

    def per_second(work: Callable[[keras.utils.PyDataset], object], batches: keras.utils.PyDataset) -> float:
        started = time.perf_counter()
        work(batches)
        return len(samples) / (time.perf_counter() - started)

    backend = f"{precision.value} on {keras.backend.backend()}"
    title = f"{len(samples)} images, batches of {batch_size}, {backend}, {machine()}"
    table = Table("images a second", "workers", "images", "network", "both", "the network waits", title=title)

    def measure(name: str, work: Callable[[keras.utils.PyDataset], object], views: Callable[..., ImageBatches]) -> None:
        work(Repeated(views().subset(np.arange(2 * batch_size))))  # compiles
        alone = per_second(work, Repeated(views()))
        for number in map(int, workers.split(",")):
            read(views(workers=number).subset(np.arange(8 * batch_size) % len(samples)))  # starts them
            decoding = per_second(read, views(workers=number))
            both = per_second(work, views(workers=number))
            waits = max(1 - both / alone, 0.0)
            table.add_row(name, f"{number}", f"{decoding:.0f}", f"{alone:.0f}", f"{both:.0f}", f"{waits:.0%}")

    extractor = make_extractor(network)
    measure("features for the head, 224", partial(extractor.predict, verbose=0), partial(show, PUBLISHED))
    unfreeze(network, Unfreeze.ALL)
    network.compile(optimizer=keras.optimizers.AdamW(1e-6), loss=keras.losses.CategoricalCrossentropy(from_logits=True))
    for size in map(int, sizes.split(",")):
        views = partial(show, STRONG, size, shuffle=True)
        measure(f"fine-tuning all, views of {size}", partial(network.fit, verbose=0, shuffle=False), views)
    Console(width=120).print(table)


if __name__ == "__main__":
    typer.run(compare)
