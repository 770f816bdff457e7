"""What a smaller input costs and saves: the same training and export at several image sizes.

    python -m benchmarks.sizes TRAIN --val VAL --weights FILE

Accuracies and the latency of one image are those that `catsdogs-export --int8` measured and wrote into `parity.json`.
"""

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
    train_size: Annotated[int, typer.Option(help="Training images.")] = 1000,
    val_size: Annotated[int, typer.Option(help="Validation images; the export uses up to 2,000.")] = 2000,
    views: Annotated[int, typer.Option(help="Of each training image.")] = 1,
    sizes: Annotated[str, typer.Option(help="Image sizes.")] = "128,160,192,224",
) -> None:
    """Train and export at each size, and print a table."""
    train, export = (Path(sys.executable).with_name(name) for name in ("catsdogs-train", "catsdogs-export"))
    numbers = ["--train-size", str(train_size), "--val-size", str(val_size), "--views", str(views)]
    table = Table("image size", "fp32 accuracy", "INT8 accuracy", "INT8 latency ms", "faster", title=machine())
    rows = {}
    with tempfile.TemporaryDirectory() as folder:
        for size in sizes.split(","):
            out = Path(folder) / size
            where: list[str | Path] = [data, "--val", val, "--weights", weights, "--out", out]
            measure({"train": [train, *where, *numbers, "--image-size", size]}, runs=1)
            measure({"export": [export, out, "--int8"]}, runs=1)
            rows[size] = json.loads((out / "onnx" / "parity.json").read_text(encoding="utf-8"))["int8"]["chosen"]
    slowest = max(row["latency_ms"] for row in rows.values())
    for size, row in rows.items():
        accuracies = (f"{row['loss'][name]:.2%}" for name in ("accuracy_fp32", "accuracy"))
        table.add_row(size, *accuracies, f"{row['latency_ms']:.1f}", f"{slowest / row['latency_ms']:.2f} x")
    Console(width=110).print(table)


if __name__ == "__main__":
    typer.run(compare)
