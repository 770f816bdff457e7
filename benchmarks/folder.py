"""Where the time and memory of `catsdogs-classify FOLDER` go: start, decoding, inference, and the rest.

    python -m benchmarks.folder compare MODEL FOLDER

Each part runs alone in a process of its own, on the same images and with the same batches as the command.
"""

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from benchmarks.processes import machine, measure
from catsdogs_edge.classify.batching import BATCH_SIZE, load_files
from catsdogs_edge.images.discovery import find_images
from catsdogs_edge.model.classifier import Classifier
from catsdogs_edge.runtime.cpu import usable_cpus

app = typer.Typer(add_completion=False)


@app.command()
def compare(
    model: Annotated[Path, typer.Argument(help="ONNX file that catsdogs-export wrote.")],
    folder: Annotated[Path, typer.Argument(help="Images.")],
    runs: Annotated[int, typer.Option(help="Runs of each; medians are shown.")] = 5,
) -> None:
    """Measure the parts and the whole, and print a table."""
    images = list(find_images([folder]))
    command = Path(sys.executable).with_name("catsdogs-classify")
    part = [sys.executable, "-m", "benchmarks.folder", "part"]
    costs = measure(
        {
            "whole command": [command, folder, "--model", model, "--csv", "-"],
            "start: one image": [command, images[0], "--model", model, "--csv", "-"],
            "nothing: imports alone": [*part, "nothing", model, folder],
            "decode + resize": [*part, "decode", model, folder],
            "load the model": [*part, "load", model, folder],
            "load + inference": [*part, "infer", model, folder],
        },
        runs,
    )
    nothing, load = costs.pop("nothing: imports alone"), costs.pop("load the model")
    whole, start = costs["whole command"], costs["start: one image"]
    decode = costs["decode + resize"].wall - nothing.wall
    infer = costs["load + inference"].wall - load.wall
    decode_cpu, infer_cpu = costs["decode + resize"].cpu - nothing.cpu, costs["load + inference"].cpu - load.cpu
    rows = [
        ("start, first image, end", start.wall, start.cpu),
        ("decode + resize", decode, decode_cpu),
        ("inference", infer, infer_cpu),
        ("rest (rows, idle), less what overlaps", whole.wall - start.wall - decode - infer,
         whole.cpu - start.cpu - decode_cpu - infer_cpu),
        ("whole command", whole.wall, whole.cpu),
    ]  # fmt: skip
    table = Table("part", "wall s", "CPU s", "share of CPU", "ms an image", title=f"{model.name}, {machine()}")
    for column in table.columns[1:]:
        column.justify = "right"
    for name, wall, cpu in rows:
        share, each = f"{cpu / whole.cpu:.0%}", f"{1000 * wall / len(images):.1f}"
        table.add_row(name, f"{wall:.2f}", f"{cpu:.2f}", share, each)
    Console(width=110).print(table)
    typer.echo(f"{len(images)} images, medians of {runs} runs; peak memory {whole.memory:.0f} MB")


@app.command(hidden=True)
def part(what: str, model: Path, folder: Path) -> None:
    """Do one part alone: what the table subtracts and adds."""
    if what == "decode":
        for _ in load_files(find_images([folder]), 224):
            pass
    elif what in {"load", "infer"}:
        classifier = Classifier.load(model, threads=1)
        size = classifier.contract.image_size
        batch = np.random.default_rng(0).integers(0, 256, (BATCH_SIZE, size, size, 3), np.uint8)
        count = len(list(find_images([folder]))) if what == "infer" else 0
        batches = [batch[: count - start] for start in range(0, count, BATCH_SIZE)]
        with ThreadPoolExecutor(usable_cpus()) as pool:
            list(pool.map(classifier.predict, batches))


if __name__ == "__main__":
    app()
