"""Where the time and memory of `catsdogs-classify FOLDER` go: start, decoding, inference, and the rest.

    python -m benchmarks.folder compare MODEL FOLDER

Each part runs alone in a process of its own, on the same pictures and with the same batches as the command.
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
from catsdogs_edge.classifier import Classifier
from catsdogs_edge.cpu import usable_cpus
from catsdogs_edge.folder import BATCH_SIZE, load_files
from catsdogs_edge.pictures import find_pictures

app = typer.Typer(add_completion=False)


@app.command()
def compare(
    model: Annotated[Path, typer.Argument(help="ONNX file that catsdogs-export wrote.")],
    folder: Annotated[Path, typer.Argument(help="Pictures.")],
    runs: Annotated[int, typer.Option(help="Runs of each; medians are shown.")] = 5,
) -> None:
    """Measure the parts and the whole, and print a table."""
    pictures = list(find_pictures([folder]))
    command = Path(sys.executable).with_name("catsdogs-classify")
    part = [sys.executable, "-m", "benchmarks.folder", "part"]
    costs = measure(
        {
            "whole command": [command, folder, "--model", model, "--csv", "-"],
            "start: one picture": [command, pictures[0], "--model", model, "--csv", "-"],
            "nothing: imports alone": [*part, "nothing", model, folder],
            "decode + resize": [*part, "decode", model, folder],
            "load the model": [*part, "load", model, folder],
            "load + inference": [*part, "infer", model, folder],
        },
        runs,
    )
    nothing, load = costs.pop("nothing: imports alone"), costs.pop("load the model")
    whole, start = costs["whole command"], costs["start: one picture"]
    decode = costs["decode + resize"].wall - nothing.wall
    infer = costs["load + inference"].wall - load.wall
    decode_cpu, infer_cpu = costs["decode + resize"].cpu - nothing.cpu, costs["load + inference"].cpu - load.cpu
    rows = [
        ("start, first picture, end", start.wall, start.cpu),
        ("decode + resize", decode, decode_cpu),
        ("inference", infer, infer_cpu),
        ("rest (rows, idle), less what overlaps", whole.wall - start.wall - decode - infer,
         whole.cpu - start.cpu - decode_cpu - infer_cpu),
        ("whole command", whole.wall, whole.cpu),
    ]  # fmt: skip
    table = Table("part", "wall s", "CPU s", "share of CPU", "ms a picture", title=f"{model.name}, {machine()}")
    for column in table.columns[1:]:
        column.justify = "right"
    for name, wall, cpu in rows:
        share, each = f"{cpu / whole.cpu:.0%}", f"{1000 * wall / len(pictures):.1f}"
        table.add_row(name, f"{wall:.2f}", f"{cpu:.2f}", share, each)
    Console(width=110).print(table)
    typer.echo(f"{len(pictures)} pictures, medians of {runs} runs; peak memory {whole.memory:.0f} MB")


@app.command(hidden=True)
def part(what: str, model: Path, folder: Path) -> None:
    """Do one part alone: what the table subtracts and adds."""
    if what == "decode":
        for _ in load_files(find_pictures([folder]), 224):
            pass
    elif what in {"load", "infer"}:
        classifier = Classifier.load(model, threads=1)
        size = classifier.contract.image_size
        batch = np.random.default_rng(0).integers(0, 256, (BATCH_SIZE, size, size, 3), np.uint8)
        count = len(list(find_pictures([folder]))) if what == "infer" else 0
        batches = [batch[: count - start] for start in range(0, count, BATCH_SIZE)]
        with ThreadPoolExecutor(usable_cpus()) as pool:
            list(pool.map(classifier.assess, batches))


if __name__ == "__main__":
    app()
