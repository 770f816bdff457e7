"""How long a command takes to say anything: help, and the answer for one image in a fresh process.

python -m benchmarks.start MODEL IMAGE
"""

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.processes import machine, measure


def compare(
    model: Annotated[Path, typer.Argument(help="ONNX file that catsdogs-export wrote.")],
    image: Annotated[Path, typer.Argument(help="One image.")],
    runs: Annotated[int, typer.Option(help="Runs of each; medians are shown.")] = 9,
) -> None:
    """Measure and print a table."""
    command = Path(sys.executable).with_name("catsdogs-classify")
    load = f"from catsdogs_edge import Classifier; Classifier.load({str(model)!r})"
    costs = measure(
        {
            "python -c pass": [sys.executable, "-c", "pass"],
            "import numpy, cv2, onnxruntime": [sys.executable, "-c", "import numpy, cv2, onnxruntime"],
            "catsdogs-classify --help": [command, "--help"],
            "Classifier.load": [sys.executable, "-c", load],
            "catsdogs-classify IMAGE": [command, image, "--model", model],
        },
        runs,
    )
    table = Table("from start to end of the process", "wall s", "memory MB", title=f"{model.name}, {machine()}")
    for name, cost in costs.items():
        table.add_row(name, f"{cost.wall:.2f}", f"{cost.memory:.0f}")
    Console(width=110).print(table)


if __name__ == "__main__":
    typer.run(compare)
