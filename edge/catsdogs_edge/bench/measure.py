"""Measures models on this machine: latency of each step, threads, folders, memory, the first answer."""

import json
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import cv2
from msgspec import Meta, Struct, convert, field

from catsdogs_edge.bench.worker import RATE
from catsdogs_edge.errors import CatsDogsError, DataError, ImageError
from catsdogs_edge.images.decode import read
from catsdogs_edge.images.discovery import find_images
from catsdogs_edge.images.drawings import PETS, draw
from catsdogs_edge.model.classifier import Classifier
from catsdogs_edge.model.contract import Precision
from catsdogs_edge.output.json_text import from_json, to_json
from catsdogs_edge.runtime.children import python
from catsdogs_edge.runtime.cpu import Cpu, busy_share, usable_cpus
from catsdogs_edge.runtime.providers import Provider
from catsdogs_edge.runtime.wheels import versions

SCHEMA = 1


class ModelFigures(Struct, frozen=True, kw_only=True):
    """What one model file did here."""

    model: str
    precision: Precision
    provider: str
    operators: dict[str, int]
    figures: dict[str, Annotated[list[float], Meta(min_length=1)]]
    """A value for each round, by name: milliseconds, but those of `worker.RATE`, `worker.DEVICE_SHARE`, `memory MB` and
    `first answer s`."""

    def median(self, name: str) -> float | None:
        """Returns the median over the rounds; None where it could not be measured."""
        return statistics.median(self.figures[name]) if self.figures.get(name) else None


class Bench(Struct, frozen=True, kw_only=True):
    """Figures of one or more models, and where they were measured."""

    schema: int = SCHEMA
    date: str
    """The start: ISO 8601, UTC."""
    machine: str
    busy: float | None = None
    """Share of the CPUs that other programs used right before or after, 0 to 1; None where the system does not say."""
    versions: dict[str, str]
    source: str
    """The folder of the images, or `drawings`."""
    images: int = field(name="pictures")
    """Images that are timed in each process."""
    rounds: int
    """Processes for each figure."""
    models: list[ModelFigures]

    def to_json(self) -> str:
        """Returns all of it as JSON."""
        return to_json(self, indent=2)

    @classmethod
    def from_json(cls, path: Path) -> "Bench":
        """Reads what `to_json` wrote; raises `DataError` where the file cannot be read, or holds something else."""
        try:
            entries = from_json(path.read_bytes(), dict[str, Any])
            if entries["schema"] == SCHEMA:
                return convert(entries, cls)
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error.strerror}") from error
        except (KeyError, ValueError) as error:
            raise DataError(f"{path} is not what catsdogs-bench --json prints: {error!r}") from error
        raise DataError(f"{path} was written by another version of catsdogs-bench: measure again")


def measure(models: Sequence[Path], provider: Provider, images: Path | None, *, count: int, rounds: int) -> Bench:
    """Measures models in processes of their own, one round after the other, so that all meet the same disturbances.

    Each process times `count` images of a folder, or drawn JPEG files of 640x480 pixels. Raises `ModelError` or
    `ProviderError` where a model does not open here, `DataError` where the folder holds no readable image.
    """
    date, cores, cpu = datetime.now(UTC).isoformat(timespec="seconds"), usable_cpus(), Cpu.detect()
    machine = f"{cpu.name or cpu.machine}, {cores} of its cores" + (", VNNI" if cpu.has_vnni else "")
    opened = [Classifier.load(path, provider) for path in models]
    found = [
        ModelFigures(
            model=str(path),
            precision=item.contract.precision,
            provider=item.provider,
            operators=item.placement(),
            figures={},
        )
        for path, item in zip(models, opened, strict=True)
    ]
    busy = [busy_share()]
    del opened  # idle threads would take time from what is measured
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        if images is None:
            _draw(folder)
        else:
            _copy_readable(images, folder)
        for _ in range(rounds):
            for model in found:
                _measure_once(model, provider, folder, count, cores)
    source = "drawings" if images is None else str(images)
    busy.append(busy_share())
    return Bench(
        date=date,
        machine=machine,
        busy=max((share for share in busy if share is not None), default=None),
        versions=versions(),
        source=source,
        images=count,
        rounds=rounds,
        models=found,
    )


def thread_counts(cores: int) -> list[int]:
    """Returns the numbers of threads that are tried: powers of two, and all cores."""
    return sorted({2**power for power in range(cores.bit_length()) if 2**power <= cores} | {cores})


def _measure_once(found: ModelFigures, provider: Provider, folder: Path, count: int, cores: int) -> None:
    """Adds a value to each figure."""

    def add(values: Mapping[str, float]) -> None:
        for name, value in values.items():
            found.figures.setdefault(name, []).append(value)

    def work(kind: str, threads: int) -> dict[str, float]:
        return _run([kind, found.model, provider.value, str(threads), str(folder), str(count)])

    start = time.perf_counter()
    work("first", 0)
    add({"first answer s": time.perf_counter() - start})
    add(work("latency", 0))
    for threads in thread_counts(cores):
        add({f"inference p50, {threads} threads": work("latency", threads)["inference p50"]})
    add(work("folder", cores))


def _run(arguments: Sequence[str]) -> dict[str, float]:
    command = python("-m", "catsdogs_edge.bench.worker", *arguments)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = done.stderr.splitlines() or [f"exit code {done.returncode}"]
        raise CatsDogsError(f"a measurement failed ({' '.join(arguments[:2])}): {lines[-1]}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def _draw(folder: Path) -> None:
    """Draws what a camera might have taken, as far as decoding and resizing go."""
    for seed in range(8):
        for kind in PETS:
            image = cv2.resize(cv2.cvtColor(draw(kind, seed, 640), cv2.COLOR_RGB2BGR), (640, 480))
            (folder / f"{kind}.{seed}.jpg").write_bytes(cv2.imencode(".jpg", image)[1].tobytes())


def _copy_readable(images: Path, folder: Path) -> None:
    """Copies up to 64 of the images that can be decoded."""
    if not images.is_dir():
        raise DataError(f"{images}: no such folder (expected one with images)")
    number = 0
    for path in find_images([images]):
        try:
            read(path)
        except ImageError:
            continue  # what cannot be decoded takes no time to measure
        shutil.copyfile(path, folder / f"{number:02}{path.suffix}")
        number += 1
        if number == 64:
            break
    if not number:
        raise DataError(f"{images} holds no image that can be read")


def changes(now: ModelFigures, before: ModelFigures) -> list[str]:
    """Describes what has changed beyond the noise between two measurements of a model, in lines.

    A figure has changed if no value of one measurement lies among those of the other: by chance, that happens to one
    figure in 126 with 5 rounds each (the exact rank test: Mann and Whitney, 1947), and to one in 10 with 3; if the
    machine itself was as fast then as now, which other work, heat and neighbours on a server decide.
    """
    lines = []
    for name in now.figures.keys() & before.figures.keys():
        new, old = now.figures[name], before.figures[name]
        if min(new) > max(old) or max(new) < min(old):
            one, other = statistics.median(new), statistics.median(old)
            shown = "images a second" if name == RATE else name
            lines.append(f"{shown}: {other:.4g} -> {one:.4g} (x {one / other:.2f})")
    return sorted(lines)
