"""How fast a backbone learns on the CPU with oneDNN in TensorFlow, and without.

    python -m benchmarks.onednn

Each training is a process of its own, on drawings; TensorFlow itself takes oneDNN only on CPUs with VNNI or the like.
"""

import csv
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.processes import machine
from catsdogs_edge.images.drawings import write_folder

_SWITCH = "TF_ENABLE_ONEDNN_OPTS"


def compare(
    per_class: Annotated[int, typer.Option(help="Drawings of each of two classes.")] = 64,
    image_size: Annotated[int, typer.Option(help="Edge length of the network's input in pixels.")] = 160,
    runs: Annotated[int, typer.Option(help="Trainings of each; medians are shown.")] = 3,
) -> None:
    """Measure and print a table."""
    speeds: dict[str, list[float]] = {"0": [], "1": []}
    with tempfile.TemporaryDirectory() as folder:
        drawings = Path(folder) / "drawings"
        write_folder(drawings, per_class=per_class)
        for run in range(runs):
            for switch, found in speeds.items():
                out = Path(folder) / f"{run}-{switch}"
                found.append(_train(drawings, out, image_size, switch))
    table = Table(
        "oneDNN", "images a second", "faster", title=f"a whole ResNet50 learns, {image_size} pixels, {machine()}"
    )
    for switch, found in speeds.items():
        ratio = median(found) / median(speeds["0"])
        table.add_row({"0": "off", "1": "on"}[switch], f"{median(found):.1f}", f"{ratio:.2f} x")
    Console(width=110).print(table)


def _train(drawings: Path, out: Path, image_size: int, switch: str) -> float:
    """Trains two epochs, and returns the speed of the second in images a second: the first compiles."""
    words: list[str | Path] = [
        *("env", f"{_SWITCH}={switch}", Path(sys.executable).with_name("catsdogs-train"), drawings, "--out", out),
        *f"--weights none --image-size {image_size} --views 1 --epochs 1 --fine-tune-epochs 2 --unfreeze all".split(),
    ]
    subprocess.run([*words, "--fine-tune-size", str(image_size)], check=True, capture_output=True)
    with (out / "history.csv").open(newline="", encoding="utf-8") as stream:
        *_, last = csv.DictReader(stream)
    return float(last["pictures_per_second"])


if __name__ == "__main__":
    typer.run(compare)
