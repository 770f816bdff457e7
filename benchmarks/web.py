"""What the live page costs, and whether it lasts.

    python -m benchmarks.web cost [--rounds 5]     CPU a frame without a server, with one, with viewers
    python -m benchmarks.web soak                  100,000 requests and 20,000 frames: memory and descriptors

`catsdogs-cam` runs in a process of its own, on frames of 640 x 480 that come through a pipe at a steady rate; what is
measured is the CPU time of that process. Viewers are in another one.
"""

import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import httpx
import numpy as np
import typer

from catsdogs_edge.images.drawings import draw
from catsdogs_edge.model.bundled import MODEL

app = typer.Typer(add_completion=False)

_WIDTH, _HEIGHT, _FPS, _SECONDS = 640, 480, 10, 12.0
_CONFIGURATIONS = (
    ("no server", None, 0),
    ("server, nobody watches", "pull", 0),
    ("1 page", "pull", 1),
    ("3 pages", "pull", 3),
    ("10 pages", "pull", 10),
    ("3 x MJPEG", "push", 3),
)
_REQUESTS, _FRAMES, _CLIENTS = 100_000, 20_000, 4
_TICK = os.sysconf("SC_CLK_TCK")


class Cam:
    """A `catsdogs-cam` that is fed by this process."""

    def __init__(self, *options: str | Path, size: tuple[int, int] = (_WIDTH, _HEIGHT)) -> None:
        command = [Path(sys.executable).with_name("catsdogs-cam"), "-", "--raw", f"{size[0]}x{size[1]}", "--no-window"]
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115 - as long as this object
        self.process = subprocess.Popen(
            [*map(str, command), "--jsonl", "/dev/null", *map(str, options)], stdin=subprocess.PIPE, stderr=self._log
        )
        pet = np.asarray(draw("cat", 1, 480), np.int16)[: size[1], : min(480, size[0])]
        canvas = np.full((size[1], size[0], 3), 120, np.int16)
        canvas[: pet.shape[0], : pet.shape[1]] = pet
        noise = np.random.default_rng(0).normal(0, 4, (8, *canvas.shape))
        self._frames = [np.clip(canvas + layer, 0, 255).astype(np.uint8).tobytes() for layer in noise]
        self.fed = 0

    def feed(self) -> None:
        """Writes a frame; waits as long as the pipe is full."""
        if self.process.stdin is None:
            raise SystemExit("catsdogs-cam has no input")
        self.process.stdin.write(self._frames[self.fed % len(self._frames)])
        self.process.stdin.flush()
        self.fed += 1

    def url(self) -> str:
        """Waits for the address of its page; a frame must have been fed."""
        while True:
            self._log.seek(0)
            if found := re.search(r"live page: (\S+)", self._log.read()):
                return found[1]
            if self.process.poll() is not None:
                raise SystemExit("catsdogs-cam has ended")
            time.sleep(0.05)

    def cpu(self) -> float:
        """CPU seconds so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICK

    def memory(self) -> float:
        """Resident memory in MB."""
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20

    def descriptors(self) -> int:
        """Open files and sockets."""
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))

    def end(self) -> None:
        """Ends it."""
        self.process.kill()
        self.process.wait()


@contextmanager
def _viewers(url: str, kind: str, count: int) -> Iterator[None]:
    """Runs viewers in a process of their own."""
    command = [sys.executable, "-m", "benchmarks.web", "watch", kind, str(count), url]
    process = subprocess.Popen(command) if count else None
    try:
        yield
    finally:
        if process:
            process.kill()
            process.wait()


@app.command(hidden=True)
def watch(kind: str, count: int, url: str) -> None:
    """Watches as `count` pages, or MJPEG viewers, do; does not end."""
    address = urlsplit(url).netloc

    def pull() -> None:
        connection, after = HTTPConnection(address, timeout=20), 0
        while True:
            connection.request("GET", f"/frame.jpg?after={after}")
            answer = connection.getresponse()
            answer.read()
            after = int(json.loads(answer.headers["x-catsdogs"])["sequence"])

    def push() -> None:
        connection = HTTPConnection(address, timeout=20)
        connection.request("GET", "/stream.mjpg")
        answer = connection.getresponse()
        while answer.read1(2**16):
            pass

    threads = [threading.Thread(target=pull if kind == "pull" else push) for _ in range(count)]
    for thread in threads:
        thread.start()


def _measure(kind: str | None, count: int) -> tuple[float, float]:
    """Returns CPU milliseconds a frame, and frames a second."""
    cam = Cam(*([] if kind is None else ["--web", "127.0.0.1:0"]))
    try:
        for _ in range(5):
            cam.feed()
        with _viewers("" if kind is None else cam.url(), kind or "", count):
            due = time.monotonic()
            before = (0.0, 0, 0.0)
            end = due + _SECONDS
            while due < end:
                cam.feed()
                due += 1 / _FPS
                time.sleep(max(due - time.monotonic(), 0))
                if before == (0.0, 0, 0.0) and due > end - 0.75 * _SECONDS:  # the start does not count
                    before = cam.cpu(), cam.fed, time.monotonic()
            frames = cam.fed - before[1]
            return 1000 * (cam.cpu() - before[0]) / frames, frames / (time.monotonic() - before[2])
    finally:
        cam.end()


@app.command()
def cost(rounds: Annotated[int, typer.Option(help="Measurements of each kind.")] = 5) -> None:
    """Prints CPU a frame, in turns."""
    found: dict[str, list[float]] = {name: [] for name, _, _ in _CONFIGURATIONS}
    rates = {name: [0.0] * rounds for name in found}
    for number in range(rounds):
        for name, kind, count in _CONFIGURATIONS:
            milliseconds, rates[name][number] = _measure(kind, count)
            found[name].append(milliseconds)
    base = statistics.median(found["no server"])
    typer.echo(f"{_WIDTH} x {_HEIGHT}, {_FPS} fps, {MODEL.name}; CPU ms a frame, median (least to most) of {rounds}")
    for name, values in found.items():
        middle = statistics.median(values)
        spread = f"({min(values):.1f} to {max(values):.1f})"
        typer.echo(f"{name:<24} {middle:6.1f} {spread}  {middle - base:+5.1f} ms  {min(rates[name]):.2f} fps")


@app.command()
def soak(
    model: Annotated[Path, typer.Option(help="ONNX file that catsdogs-export wrote.")] = MODEL,
    requests: Annotated[int, typer.Option(help="Requests in all.")] = _REQUESTS,
    frames: Annotated[int, typer.Option(help="Frames in all, as fast as they can be classified.")] = _FRAMES,
) -> None:
    """Prints memory and descriptors while requests, frames and viewers come and go."""
    cam = Cam("--web", "127.0.0.1:0", "--model", model, size=(160, 120))
    done = threading.Event()

    def feed() -> None:
        while cam.fed < frames and not done.is_set():
            cam.feed()
            time.sleep(0.002)
        while not done.is_set():  # a camera that goes on, at its usual rate
            cam.feed()
            time.sleep(0.1)

    feeder = threading.Thread(target=feed)
    feeder.start()
    url = cam.url()
    image = draw("cat", 1).tobytes()
    made = [0] * _CLIENTS
    paths = ("api/v1/state", "frame.jpg", "api/v1/events", "metrics", "snapshot.jpg", "api/v1/timeline", "nothing", "")

    def ask(index: int) -> None:
        with httpx.Client(base_url=url, timeout=30) as client:
            while made[index] < requests // _CLIENTS:
                number = made[index]
                if number % 50 == 0:
                    client.post("api/v1/classify", content=image[: 1000 + number % 1000])
                elif number % 200 == 7:
                    with client.stream("GET", "stream.mjpg") as answer:
                        next(answer.iter_raw())
                else:
                    client.get(paths[number % len(paths)])
                made[index] += 1

    pool = ThreadPoolExecutor(_CLIENTS)
    started = time.monotonic()
    work = [pool.submit(ask, index) for index in range(_CLIENTS)]
    typer.echo(f"{'requests':>9} {'frames':>7} {'memory MB':>10} {'descriptors':>12}")
    marks = []
    while not all(each.done() for each in work) or cam.fed < frames:
        time.sleep(5)
        marks.append((sum(made), cam.fed, cam.memory(), cam.descriptors()))
        typer.echo(f"{marks[-1][0]:>9} {marks[-1][1]:>7} {marks[-1][2]:>10.1f} {marks[-1][3]:>12}")
    for each in work:
        each.result()
    time.sleep(3)
    half = next(memory for asked, _, memory, _ in marks if asked >= requests / 2)
    typer.echo(f"{sum(made)} requests and {cam.fed} frames in {time.monotonic() - started:.0f} s")
    typer.echo(
        f"memory {half:.1f} MB after half of them, {cam.memory():.1f} at the end: {cam.memory() / half - 1:+.1%}"
    )
    typer.echo(f"descriptors {cam.descriptors()} at the end")
    done.set()
    feeder.join()
    cam.end()
    pool.shutdown()


if __name__ == "__main__":
    app()
