"""From a camera's frame to the decision: how long it takes, and how much of the CPU.

    python -m benchmarks.camera compare MODEL

A drawn video is played at the pace of a camera into the very code that reads cameras and classifies. Beside it, in a
process of its own, the same frames are classified one right after the other: that is inference, and nothing else.
"""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import cv2
import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from benchmarks.processes import machine
from catsdogs_edge.capture.frames import BgrImage
from catsdogs_edge.capture.live import LiveSource
from catsdogs_edge.images.drawings import draw
from catsdogs_edge.model.classifier import Classifier
from catsdogs_edge.stream.frame_result import FrameResult
from catsdogs_edge.stream.pipeline import classify_stream, deliver

app = typer.Typer(add_completion=False)

_WARM_UP = 15
"""Frames before anything counts."""


@app.command()
def compare(
    model: Annotated[Path, typer.Argument(help="ONNX file that catsdogs-export wrote.")],
    fps: Annotated[float, typer.Option(help="Frames a second.")] = 15.0,
    frames: Annotated[int, typer.Option(help="Frames to time.")] = 300,
    rounds: Annotated[int, typer.Option(help="Processes of each, in turn; medians are shown.")] = 3,
) -> None:
    """Measure and print a table."""
    found: dict[str, list[dict[str, float]]] = {"camera": [], "inference": []}
    for _ in range(rounds):
        for name, values in found.items():
            command = [sys.executable, "-m", "benchmarks.camera", "work", name, str(model), str(fps), str(frames)]
            values.append(json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout))
    camera, inference = (
        {key: float(np.median([value[key] for value in values])) for key in values[0]} for values in found.values()
    )
    table = Table("", "p50 ms", "p95 ms", "CPU ms a frame", title=f"640x480 at {fps:g} frames a second; {machine()}")
    for name, row in (("from capture to decision", camera), ("conversion, resize and inference alone", inference)):
        table.add_row(name, f"{row['p50']:.1f}", f"{row['p95']:.1f}", f"{row['cpu']:.1f}")
    Console(width=110).print(table)
    typer.echo(
        f"p95 {camera['p95'] - inference['p95']:+.1f} ms, CPU {camera['cpu'] / inference['cpu']:.2f} x; "
        f"{camera['dropped']:.0f} of {frames} frames dropped"
    )


@app.command(hidden=True)
def work(name: str, model: Path, fps: float, frames: int) -> None:
    """Measure one of them in this process."""
    classifier = Classifier.load(model, spinning=False)  # as catsdogs-cam does
    images = [
        np.asarray(cv2.resize(cv2.cvtColor(draw("cat", seed, 640), cv2.COLOR_RGB2BGR), (640, 480)), np.uint8)
        for seed in range(30)
    ]
    if name == "camera":
        typer.echo(json.dumps(_watch(classifier, images, fps, frames)))
    else:
        typer.echo(json.dumps(_classify(classifier, images, frames)))


class _Player:
    """Returns frames when they are due, as a camera does."""

    def __init__(self, images: list[BgrImage], fps: float) -> None:
        self._images, self._pause = images, 1 / fps
        self._due, self._number = time.monotonic(), 0

    def read(self) -> tuple[bool, Any]:
        """Waits for the next one."""
        self._due += self._pause
        time.sleep(max(0.0, self._due - time.monotonic()))
        self._number += 1
        return True, self._images[self._number % len(self._images)].copy()

    def release(self) -> None:
        """Has nothing to close."""


class _Clock:
    """A sink that notes how old each frame is when it has been decided upon."""

    def __init__(self) -> None:
        self.ages: list[float] = []
        self.dropped = 0
        self.begun = 0.0

    def write(self, result: FrameResult) -> bool:
        """Takes one."""
        if result.prediction is not None:
            self.ages.append(1000 * (time.monotonic() - result.frame.captured))
            if len(self.ages) == _WARM_UP:
                self.begun = time.process_time()
            elif len(self.ages) > _WARM_UP:
                self.dropped += result.frame.dropped
        return True

    def close(self) -> None:
        """Has nothing to close."""


def _watch(classifier: Classifier, images: list[BgrImage], fps: float, frames: int) -> dict[str, float]:
    source = LiveSource(lambda: _Player(images, fps), "a drawn video", fps=fps, may_repeat=True).wait()
    clock = _Clock()
    deliver(classify_stream(source, classifier), [clock], limit=_WARM_UP + frames)
    cpu = 1000 * (time.process_time() - clock.begun) / frames
    ages = clock.ages[_WARM_UP:]
    return {"p50": np.percentile(ages, 50), "p95": np.percentile(ages, 95), "cpu": cpu, "dropped": clock.dropped}


def _classify(classifier: Classifier, images: list[BgrImage], frames: int) -> dict[str, float]:
    times = []
    begun = 0.0
    for number in range(_WARM_UP + frames):
        if number == _WARM_UP:
            begun = time.process_time()
        start = time.perf_counter()
        rgb = np.asarray(cv2.cvtColor(images[number % len(images)], cv2.COLOR_BGR2RGB), np.uint8)
        classifier.classify([rgb])
        times.append(1000 * (time.perf_counter() - start))
    cpu = 1000 * (time.process_time() - begun) / frames
    return {"p50": np.percentile(times[_WARM_UP:], 50), "p95": np.percentile(times[_WARM_UP:], 95), "cpu": cpu}


if __name__ == "__main__":
    app()
