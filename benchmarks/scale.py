"""Compares `catsdogs-classify` with the same on Ray, on one machine.

    python -m benchmarks.scale IMAGES --count 10000

Rows must be equal. Then it is done on Ray once more, a worker is killed, then the driver, and what is left is resumed:
each image must have one row still.
"""

import contextlib
import csv
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from catsdogs_edge.images.discovery import find_images

_COMMAND = Path(sys.executable).with_name("catsdogs-classify")


@dataclass(frozen=True, slots=True)
class Run:
    """One run of the command."""

    name: str
    """Of the row."""
    seconds: float
    """Wall time, the start of Ray included."""
    peak: int
    """Most memory of all its processes at one moment, bytes; shared pages are shared out (PSS)."""


def main(
    images: Annotated[Path, typer.Argument(help="Folder of images.")],
    count: Annotated[int, typer.Option(help="Links to them that are classified.")] = 10_000,
) -> None:
    """Prints a table."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        many = folder / "many"
        many.mkdir()
        for location, path in enumerate(islice(cycle(list(find_images([images]))), count)):
            (many / f"{location:06}{path.suffix}").symlink_to(path.resolve())
        ray = ["--engine", "ray", "--format", "csv", "--parts"]
        runs = [
            _run("one process", [many, "--csv", folder / "rows.csv"]),
            _run("Ray", [many, *ray, folder / "ray"]),
        ]
        expected = _read(folder / "rows.csv")
        _check("Ray", expected, _read(folder / "ray"))
        runs += _kill_and_resume([many, *ray, folder / "killed"], folder / "killed")
        _check("Ray, killed and resumed", expected, _read(folder / "killed"))
    table = Table("", "seconds", "ms an image", "throughput", "peak memory")
    for run in runs[:2]:
        each, share = 1000 * run.seconds / count, runs[0].seconds / run.seconds
        table.add_row(run.name, f"{run.seconds:.1f}", f"{each:.2f}", f"{share:.2f} x", f"{run.peak / 1e6:.0f} MB")
    for run in runs[2:]:
        table.add_row(run.name, f"{run.seconds:.1f}", "", "", f"{run.peak / 1e6:.0f} MB" if run.peak else "")
    Console().print(table)
    Console().print(f"{len(expected)} rows, the same each time")


def _run(name: str, arguments: list[str | Path]) -> Run:
    started = time.perf_counter()
    with subprocess.Popen([_COMMAND, *arguments], stderr=subprocess.DEVNULL) as process:
        peak = 0
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(5)  # looking more often would take time itself
                break
            peak = max(peak, _memory(process.pid))
    if process.returncode not in {0, 3}:
        raise SystemExit(f"{name} ended with {process.returncode}")
    return Run(name, time.perf_counter() - started, peak)


def _kill_and_resume(arguments: list[str | Path], out: Path) -> list[Run]:
    started = time.perf_counter()
    with subprocess.Popen([_COMMAND, *arguments], stderr=subprocess.DEVNULL) as process:
        _wait(out, 6)
        while not (workers := _workers(process.pid)):  # between two shards, a worker has none
            time.sleep(0.01)
        os.kill(workers[0], signal.SIGKILL)
        _wait(out, 12)
        process.kill()
    done = Run("Ray, until a worker and then the driver were killed", time.perf_counter() - started, 0)
    return [done, _run("Ray, the rest of it", [*arguments, "--resume"])]


def _wait(out: Path, parts: int) -> None:
    while len(list(out.glob("part-*"))) < parts:
        time.sleep(0.1)


def _workers(driver: int) -> list[int]:
    """Process numbers of its workers that have a shard in hand."""
    return [
        process
        for process in _descendants(driver)
        if Path(f"/proc/{process}/cmdline").read_bytes().startswith(b"ray::_do_shard")
    ]


def _memory(root: int) -> int:
    """Adds up the memory of a process and all that descend from it, bytes."""
    total = 0
    for process in [root, *_descendants(root)]:
        with contextlib.suppress(OSError, IndexError):
            line = Path(f"/proc/{process}/smaps_rollup").read_text().partition("\nPss:")[2]
            total += 1024 * int(line.split()[0])
    return total


def _descendants(root: int) -> list[int]:
    parents: dict[int, int] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, ValueError):
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
    found = []
    for process, parent in parents.items():
        above = parent
        while above and above != root:
            above = parents.get(above, 0)
        if above == root:
            found.append(process)
    return found


def _read(location: Path) -> list[list[str]]:
    rows: list[list[str]] = []
    for path in sorted(location.glob("part-*")) if location.is_dir() else [location]:
        with path.open(newline="", encoding="utf-8", errors="surrogateescape") as stream:
            rows += list(csv.reader(stream))[1:]
    return rows


def _check(name: str, expected: list[list[str]], rows: list[list[str]]) -> None:
    if rows != expected:
        raise SystemExit(f"{name}: the rows are others")


if __name__ == "__main__":
    typer.run(main)
