"""Does a GPU wait for images? The same training with them, without the network, and without decoding.

    python -m benchmarks.feeding data/train more/ --weights FILE
    KERAS_BACKEND=jax python -m benchmarks.feeding data/train more/ --weights FILE --batch-size 64

"images" decodes and draws views on the CPU (host), or draws what they look like (device), and asks no network;
"network" sees one batch of finished views, over and over; "both" is what `catsdogs-train` does. Where "both" is slower
than "network", the network waits, for the share that the table names; the device draws its views in that time.
"""

from pathlib import Path
from typing import Annotated

import typer

from catsdogs_train.backend import choose_backend


def compare(
    data: Annotated[list[Path], typer.Argument(help="Folders or zip files of images.")],
    weights: Annotated[str, typer.Option(help="As for catsdogs-train.")] = "none",
    images: Annotated[int, typer.Option(help="So many of them.")] = 2000,
    batch_size: Annotated[int, typer.Option(help="Images in one step.")] = 32,
    sizes: Annotated[str, typer.Option(help="Edge lengths of the views for fine-tuning.")] = "160,224",
) -> None:
    """Feed a network in three ways and print a table."""
    choose_backend()
    from benchmarks.fed_network import measure_all  # noqa: PLC0415 - Keras' backend is chosen by now

    measure_all(data, weights, images, batch_size, [int(size) for size in sizes.split(",")])


if __name__ == "__main__":
    typer.run(compare)
