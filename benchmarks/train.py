"""Training on features of a frozen backbone against the plain loop: time and accuracy on the same images.

    python -m benchmarks.train TRAIN --val VAL --weights FILE --train-size 100 --val-size 500

The plain loop asks the backbone about every image in every epoch, validation included, as Keras' `fit` does; the
other asks once for each view. Each training is a process of its own.
"""

import csv
import json
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.processes import machine, measure


def compare(
    data: Annotated[Path, typer.Argument(help="Images to train with, a folder for each class.")],
    val: Annotated[Path, typer.Option(help="Images to validate on.")],
    weights: Annotated[str, typer.Option(help="As for catsdogs-train.")] = "imagenet",
    train_size: Annotated[int, typer.Option(help="Training images.")] = 100,
    val_size: Annotated[int, typer.Option(help="Validation images.")] = 500,
    epochs: Annotated[int, typer.Option(help="Passes over the training images.")] = 10,
    views: Annotated[str, typer.Option(help="Of each training image, for the fast way; several to compare.")] = "2,4",
) -> None:
    """Train in all ways and print a table."""
    command = Path(sys.executable).with_name("catsdogs-train")
    sizes = ["--train-size", str(train_size), "--val-size", str(val_size), "--epochs", str(epochs)]
    title = f"{train_size} + {val_size} images, {epochs} epochs, {machine()}"
    table = Table("way", "wall s", "faster", "validation accuracy, best", "last", title=title)
    with tempfile.TemporaryDirectory() as folder:
        ways = {f"features of {number} views": int(number) for number in views.split(",")} | {"plain loop": 0}
        costs = measure(
            {
                name: [command, data, "--val", val, "--weights", weights, *sizes, "--views", str(number),
                       "--out", Path(folder) / str(number)]
                for name, number in ways.items()
            },
            runs=1,
        )  # fmt: skip
        for name, number in ways.items():
            run = json.loads((Path(folder) / str(number) / "run.json").read_text(encoding="utf-8"))
            ratio = costs["plain loop"].wall / costs[name].wall
            with (Path(folder) / str(number) / "history.csv").open(newline="", encoding="utf-8") as stream:
                *_, last = csv.DictReader(stream)
            accuracies = run["best_epoch"]["val_accuracy"], float(last["val_accuracy"])
            table.add_row(name, f"{costs[name].wall:.0f}", f"{ratio:.1f} x", *map("{:.2%}".format, accuracies))
    Console(width=110).print(table)


if __name__ == "__main__":
    typer.run(compare)
