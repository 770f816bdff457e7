"""How many images of a class are enough: the same training with more and more of them, judged by images it never saw.

    python -m benchmarks.few_images TRAIN... --val VAL --weights FILE --other LEARNED/ --judged JUDGED/

Each training gets so many images of each class and nothing else: what it validates on is kept back from them, as for
a user who has no more. The images are drawn anew for each of `--draws`; the table has the means, and the worst draw.
"""

import json
import random
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import mean
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.processes import machine, measure
from catsdogs_edge.images.discovery import find_labelled


def compare(
    data: Annotated[list[Path], typer.Argument(help="Images to train with, a folder for each class.")],
    val: Annotated[Path, typer.Option(help="Images that judge, a folder for each class.")],
    other: Annotated[Path, typer.Option(help="Images of neither to train with.")],
    judged: Annotated[Path, typer.Option(help="Images of neither that judge, of other kinds.")],
    weights: Annotated[str, typer.Option(help="As for catsdogs-train.")] = "imagenet",
    numbers: Annotated[str, typer.Option(help="Images of each class.")] = "50,200,1000",
    draws: Annotated[int, typer.Option(help="Trainings for each number; one for the largest.")] = 3,
) -> None:
    """Train with each number of images, and print a table."""
    table = Table("images a class", "right", "worst draw", "called neither", "other things refused", "seconds")
    table.title = machine()
    counts = [int(number) for number in numbers.split(",")]
    for count in counts:
        found, seconds = [], []
        for seed in range(draws if count < max(counts) else 1):
            with tempfile.TemporaryDirectory() as name:
                images, run = Path(name, "images"), Path(name, "run")
                choose(data, count, seed, images)
                seconds.append(train(images, run, other, weights))
                found.append(ask(run, val, judged))
        table.add_row(str(count), *describe(found), f"{mean(seconds):.0f}")
    Console(width=110).print(table)


def train(images: Path, run: Path, other: Path, weights: str) -> float:
    """Trains and exports; returns the seconds of the training."""
    command: list[str | Path] = [_command("train"), images, "--weights", weights, "--other", other, "--out", run]
    seconds = measure({"train": command}, runs=1)["train"].wall
    measure({"export": [_command("export"), run]}, runs=1)
    return seconds


def ask(run: Path, val: Path, judged: Path) -> dict[str, Any]:
    """Returns the figures of `catsdogs-eval`."""
    model = run / "onnx" / "model.onnx"
    command: list[str | Path] = [_command("eval"), val, "--model", model, "--other", judged, "--json"]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    figures: dict[str, Any] = json.loads(done.stdout)
    return figures


def _command(name: str) -> Path:
    return Path(sys.executable).with_name(f"catsdogs-{name}")


def choose(folders: list[Path], count: int, seed: int, out: Path) -> None:
    """Links so many images of each class, drawn at random."""
    labelled = [find_labelled(folder) for folder in folders]
    if len({classes for classes, _ in labelled}) > 1:
        raise typer.BadParameter("the folders have different classes")
    for index, label in enumerate(labelled[0][0]):
        paths = [path for _, found in labelled for path, of in found if of == index]
        (out / label).mkdir(parents=True)
        for number, path in enumerate(random.Random(seed).sample(paths, count)):  # noqa: S311 - not for secrets
            (out / label / f"{number}{path.suffix}").symlink_to(path.absolute())


def describe(found: list[dict[str, Any]]) -> list[str]:
    """Returns the cells of what was measured: means over the draws, and the worst."""
    right = [each["accuracy"] for each in found]
    shares = (mean(1 - each["kept"] for each in found), mean(each["others_refused"] for each in found))
    return [f"{mean(right):.1%}", f"{min(right):.1%}", *(f"{share:.1%}" for share in shares)]


if __name__ == "__main__":
    typer.run(compare)
