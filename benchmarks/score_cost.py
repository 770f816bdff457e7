"""What the familiarity score costs: one image through an INT8 file with it and without, in processes of their own.

python -m benchmarks.score_cost run/onnx/model.int8.onnx
"""

import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import numpy as np
import onnx
import typer
from onnx.utils import Extractor
from rich.console import Console
from rich.table import Table

from benchmarks.processes import machine, median_ms

_RUNS = 200


def compare(
    model: Annotated[Path, typer.Argument(help="ONNX file of catsdogs-export, with the score.")],
    rounds: Annotated[int, typer.Option(help="Processes of each, in turn.")] = 9,
    only: Annotated[bool, typer.Option("--only", help="Time this file in this process, and print the median.")] = False,
) -> None:
    """Print a table of medians."""
    if only:
        typer.echo(_time(model))
        return
    with tempfile.TemporaryDirectory() as folder:
        without = Path(folder, "without.onnx")
        graph = onnx.load(model)
        onnx.save(Extractor(graph).extract_model(["image"], ["logits", "probabilities"]), without)
        found: dict[Path, list[float]] = {model: [], without: []}
        for _ in range(rounds):
            for path, values in found.items():
                command: list[str | Path] = [sys.executable, "-m", "benchmarks.score_cost", path, "--only"]
                values.append(float(subprocess.run(command, capture_output=True, text=True, check=True).stdout))
    table = Table("file", "median ms", "smallest", "largest", title=machine())
    for name, values in zip(("with the score", "without"), found.values(), strict=True):
        table.add_row(name, *(f"{value:.2f}" for value in (statistics.median(values), min(values), max(values))))
    Console(width=110).print(table)
    first, second = found.values()
    ratios = [one / other for one, other in zip(first, second, strict=True)]
    typer.echo(f"ratio of the medians {statistics.median(first) / statistics.median(second):.3f}, ", nl=False)
    typer.echo(f"median of the ratios of neighbours {statistics.median(ratios):.3f}")


def _time(path: Path) -> float:
    import onnxruntime as ort  # noqa: PLC0415 - not in the process that only compares

    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    size = session.get_inputs()[0].shape[1]
    batch = np.random.default_rng(0).integers(0, 256, (1, size, size, 3), np.uint8)
    return median_ms(lambda: session.run(None, {"image": batch}), _RUNS, 20)


if __name__ == "__main__":
    typer.run(compare)
