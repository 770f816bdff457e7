"""What a smaller network costs and saves: accuracy and latency, INT8, of runs; and whether the estimate is right.

    python -m benchmarks.lighter shapes RUN/ --speedups 1.5,2,3,4,6
    python -m benchmarks.lighter compare RUN/ SMALL/ ... --val val/ --png lighter.png --beside RUN/peers/nncf.xml

`shapes` prunes a run without training, and measures how much faster the INT8 files are than `estimate_cost` says.
`compare` takes runs that were exported with --int8, the full one first; and, for their latency alone, files of the same
input for other engines: what `benchmarks.efficientnet_lite` makes, and the .xml files of `benchmarks.peers`.
"""

import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

import keras
import numpy as np
import onnx
import typer
from msgspec.structs import replace
from rich.console import Console
from rich.table import Table

from benchmarks.peers import open_file
from benchmarks.processes import machine, median_ms, per_image
from benchmarks.processes import measure as measure_processes
from catsdogs_edge.evaluation.charts import BLUE
from catsdogs_edge.images.decode import load_batch
from catsdogs_edge.images.discovery import find_images
from catsdogs_edge.model.classifier import Classifier
from catsdogs_edge.model.contract import Contract, Precision
from catsdogs_edge.runtime.providers import Provider
from catsdogs_export.convert import convert
from catsdogs_export.int8 import Calibration, Quantizer, Setting
from catsdogs_export.options import Target
from catsdogs_export.run_folder import RunFolder
from catsdogs_export.samples import calibration_images
from catsdogs_export.seal import write_sealed
from catsdogs_train.data.layouts import find_all
from catsdogs_train.network.pruning import apply, choose, measure
from catsdogs_train.network.resnet import get_backbone, load_network
from catsdogs_train.network.structure import estimate_cost, find_convolutions
from catsdogs_train.settings import ComputeDtype

_WARM_UP, _RUNS = 10, 50
_IMAGES, _AT_ONCE = 128, 8
_BESIDE = 224  # edge length of the images that other engines' files take

app = typer.Typer(add_completion=False)


@app.command()
def shapes(
    run: Annotated[Path, typer.Argument(help="Run folder of catsdogs-train.")],
    speedups: Annotated[str, typer.Option(help="How many times faster.")] = "1.5,2,3,4,6",
    rounds: Annotated[int, typer.Option(help="Processes of each, in turn.")] = 5,
) -> None:
    """Prune, quantize and measure; nothing is trained."""
    folder = RunFolder.load(run)
    size = folder.contract.image_size
    full = load_network(folder.model, size, ComputeDtype.FLOAT32)
    images = calibration_images(folder, None, 0)[:_IMAGES]
    parts = (load_batch(images[start : start + _AT_ONCE], size) for start in range(0, len(images), _AT_ONCE))
    seen = measure(full, parts, 0)
    whole = estimate_cost(get_backbone(full))
    networks = {"1": full}
    for speedup in speedups.split(","):
        networks[speedup] = apply(full, seen, choose(full, seen, whole / float(speedup), size), size)
    with tempfile.TemporaryDirectory() as name:
        files = {}
        contract = replace(folder.contract, familiarity=None)
        for speedup, network in networks.items():
            files[speedup] = Path(name, f"{speedup}.int8.onnx")
            write_int8(network, contract, images[:16], files[speedup])
        times = _latencies(files, rounds)
    table = Table("asked for", "multiplications", "weights", "estimated", "measured", "ms", title=machine())
    for speedup, network in networks.items():
        backbone = get_backbone(network)
        work = sum(item.pixels * item.window * item.inputs * item.outputs for item in find_convolutions(backbone))
        figures = (
            f"{work / 1e9:.2f} G",
            f"{network.count_params() / 1e6:.1f} M",
            f"{whole / estimate_cost(backbone):.2f}",
        )
        table.add_row(speedup, *figures, f"{times['1'] / times[speedup]:.2f}", f"{times[speedup]:.1f}")
    Console(width=110).print(table)


@app.command()
def compare(
    runs: Annotated[list[Path], typer.Argument(help="Run folders with an INT8 export, the full one first.")],
    val: Annotated[Path, typer.Option(help="Labelled images.")],
    rounds: Annotated[int, typer.Option(help="Processes of each for the latency, in turn.")] = 5,
    beside: Annotated[list[Path] | None, typer.Option(help="More files, for 224 pixels: .onnx, .xml, .tflite.")] = None,
    folder: Annotated[Path | None, typer.Option(help="Also classify this folder by `catsdogs-classify`.")] = None,
    png: Annotated[Path | None, typer.Option(help="Draw accuracy against latency into this file.")] = None,
) -> None:
    """Measure and print a table."""
    files = {run.name: run / "onnx" / "model.int8.onnx" for run in runs}
    others = {str(file): file for file in beside or []}
    times = _latencies(files | others, rounds)
    _, found = find_all([val])
    truth = [label for _, label in found]
    table = Table("run", "image size", "right labels", "median ms", "faster", "MB", title=f"One image; {machine()}")
    points = []
    for name, file in files.items():
        classifier = Classifier.load(file, Provider.CPU, accept_all=True)
        size, classes = classifier.contract.image_size, classifier.contract.classes
        labels = []
        for start in range(0, len(found), _AT_ONCE):
            batch = load_batch([path for path, _ in found[start : start + _AT_ONCE]], size)
            labels += [classes.index(prediction.label) for prediction in classifier.classify(list(batch))]
        share = float(np.mean(np.array(labels) == truth))
        points.append((name, times[name], share))
        faster = times[runs[0].name] / times[name]
        table.add_row(
            name, str(size), f"{share:.2%}", f"{times[name]:.2f}", f"{faster:.2f}", f"{file.stat().st_size / 1e6:.1f}"
        )
    for name, file in others.items():
        weights = file.with_suffix(".bin") if file.suffix == ".xml" else file
        figures = (f"{times[name]:.2f}", f"{times[runs[0].name] / times[name]:.2f}")
        table.add_row(name, str(_BESIDE), "", *figures, f"{weights.stat().st_size / 1e6:.1f}")
    Console(width=110).print(table)
    if folder:
        for name, milliseconds in _each_of(folder, {run.name: files[run.name] for run in runs}, rounds).items():
            typer.echo(f"catsdogs-classify {folder} with {name}: {milliseconds:.2f} ms an image")
    if png:
        _draw(points, len(found), png)


@app.command(hidden=True)
def work(file: Path) -> None:
    """Measure one file in this process."""
    size = Classifier.load(file).contract.image_size if file.suffix == ".onnx" else _BESIDE
    run = open_file(file)
    batch = np.random.default_rng(0).integers(0, 256, (1, size, size, 3), np.uint8)
    typer.echo(json.dumps(median_ms(partial(run, batch), _RUNS, _WARM_UP)))


def write_int8(network: keras.Model, contract: Contract, images: Sequence[Path], path: Path) -> None:
    """Exports a network to INT8 with MinMax calibration; `contract` is that of the float file in between."""
    with tempfile.TemporaryDirectory() as name:
        fp32, tried = Path(name, "fp32.onnx"), Path(name, "tried.onnx")
        write_sealed(convert(network, contract), contract, fp32)
        Quantizer(fp32, Path(name), contract, images).quantize(Setting(Calibration.MINMAX, Target.detect()), tried)
        write_sealed(onnx.load(tried), replace(contract, precision=Precision.INT8), path)


def _each_of(folder: Path, files: dict[str, Path], rounds: int) -> dict[str, float]:
    """Returns what an image of a folder takes from file to row, in milliseconds, without the start."""
    images = list(find_images([folder]))
    if len(images) < 2:
        raise typer.BadParameter(f"{folder} holds {len(images)} images, expected two or more")
    command = Path(sys.executable).with_name("catsdogs-classify")
    commands: dict[str, list[str | Path]] = {
        f"{part}: {name}": [command, what, "--model", file, "--csv", "-"]
        for name, file in files.items()
        for part, what in (("one", images[0]), ("all", folder))
    }
    costs = measure_processes(commands, rounds)
    return {name: per_image(costs[f"one: {name}"], costs[f"all: {name}"], len(images)) for name in files}


def _latencies(files: dict[str, Path], rounds: int) -> dict[str, float]:
    """Returns the median latency of each file in milliseconds, over processes in turn."""
    times: dict[str, list[float]] = {name: [] for name in files}
    for _ in range(rounds):
        for name, file in files.items():
            command = [sys.executable, "-m", "benchmarks.lighter", "work", str(file)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            times[name].append(float(done.stdout.splitlines()[-1]))
    return {name: statistics.median(values) for name, values in times.items()}


def _draw(points: list[tuple[str, float, float]], count: int, path: Path) -> None:
    """Draws accuracy against latency."""
    from matplotlib.figure import Figure  # noqa: PLC0415

    figure = Figure(figsize=(8, 4.8), layout="constrained")
    axes = figure.subplots()
    axes.plot([time for _, time, _ in points], [100 * share for *_, share in points], "o", color=BLUE)
    for name, latency, share in points:
        axes.annotate(f"{name}: {latency:.1f} ms", (latency, 100 * share), xytext=(6, -12), textcoords="offset points")
    axes.set(title=f"INT8, one image at a time; {machine()}")
    axes.set(xlabel="latency (ms), median; less is better", ylabel=f"right labels of {count} images (%)")
    axes.set_xlim(0, 1.25 * max(time for _, time, _ in points))
    shares = [100 * share for *_, share in points]
    axes.set_ylim(min(shares) - 0.5, max(shares) + 0.5)  # so that one image more or less looks like what it is
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    app()
