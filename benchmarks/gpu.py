"""What a GPU does, in one call of a few minutes: training, a folder, the first answer, one frame of a camera.

    KERAS_BACKEND=jax python -m benchmarks.gpu more/ --model run/onnx/model.fp16.onnx --weights FILE
    python -m benchmarks.gpu more/ --model run/onnx/model.onnx --provider cpu --count 200      (a rehearsal without one)

The folder is classified by the command, from its start to its last row, and again by the CPU: their labels must agree.
"""

import csv
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.processes import machine
from catsdogs_edge.bench.worker import DEVICE_SHARE
from catsdogs_edge.images.discovery import find_images
from catsdogs_edge.runtime.providers import Provider

_SCRIPTS = Path(sys.executable).parent


def measure(
    images: Annotated[Path, typer.Argument(help="Folder of labelled images, in folders of their classes.")],
    model: Annotated[Path, typer.Option(help="ONNX file in fp16.")],
    weights: Annotated[str, typer.Option(help="As for catsdogs-train.")] = "none",
    provider: Annotated[Provider, typer.Option(help="Of ONNX Runtime.")] = Provider.CUDA,
    count: Annotated[int, typer.Option(help="Images of the folder.")] = 2000,
) -> None:
    """Measure all of it and print two tables."""
    chosen = list(find_images([str(images)]))[:count]
    table = Table("what", "found", "wanted", title=f"{len(chosen)} images, {model.name}, {provider.value}, {machine()}")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch, "images")
        folder.mkdir()
        for number, path in enumerate(chosen):
            (folder / f"{number:06d}{path.suffix}").symlink_to(path.resolve())
        seconds, labels = _classify(folder, model, provider, Path(scratch, "device.csv"))
        _, expected = _classify(folder, model, Provider.CPU, Path(scratch, "cpu.csv"))
        agreement = sum(labels[name] == label for name, label in expected.items()) / len(expected)
        table.add_row("a folder, images a second, from start to end", f"{len(labels) / seconds:.0f}", ">= 1500")
        table.add_row("labels as on the CPU", f"{agreement:.2%}", ">= 99.9 %")
        figures = _bench(folder, model, provider)
    table.add_row("the same, once it runs", f"{figures['pictures a second']:.0f}", "")
    if (share := figures.get(DEVICE_SHARE)) is not None:  # on a CPU it is not measured
        table.add_row("share of time in which the device works", f"{share:.0%}", "")
    table.add_row("first answer, s", f"{figures['first answer s']:.2f}", "<= 2.5")
    table.add_row("inference of one frame, ms", f"{figures['inference p50']:.2f}", "<= 3")
    Console(width=120).print(table)
    command = ["-m", "benchmarks.feeding", str(images), "--weights", weights, "--images", str(count)]
    subprocess.run([sys.executable, *command, "--batch-size", "64", "--sizes", "224"], check=True)


def _classify(folder: Path, model: Path, provider: Provider, out: Path) -> tuple[float, dict[str, str]]:
    """Returns the seconds of the command, and the label of each file."""
    command: list[str | Path] = [
        _SCRIPTS / "catsdogs-classify",
        folder,
        "--model",
        model,
        "--provider",
        provider.value,
        "--csv",
        out,
    ]
    started = time.perf_counter()
    subprocess.run(command, check=True)
    seconds = time.perf_counter() - started
    with out.open(newline="") as stream:
        return seconds, {Path(row["path"]).name: row["label"] for row in csv.DictReader(stream)}


def _bench(folder: Path, model: Path, provider: Provider) -> dict[str, float]:
    """Returns medians of three processes."""
    command: list[str | Path] = [_SCRIPTS / "catsdogs-bench", model, "--provider", provider.value, "--images", folder]
    done = subprocess.run([*command, "--rounds", "3", "--json"], check=True, stdout=subprocess.PIPE)
    (found,) = json.loads(done.stdout)["models"]
    return {name: sorted(values)[1] for name, values in found["figures"].items()}


if __name__ == "__main__":
    typer.run(measure)
