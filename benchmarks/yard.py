"""What regions, motion and several cameras cost, on streams of this machine.

    python -m benchmarks.yard [--rounds 3]

`catsdogs-cam` runs in a process of its own, on MJPEG over HTTP of 640 x 480 at 10 frames a second that this process
sends; what is measured is the CPU time and the memory of that process, and when it writes its rows.
"""

import json
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import typer

from catsdogs_edge.images.drawings import draw
from catsdogs_edge.model.bundled import MODEL

app = typer.Typer(add_completion=False)

_FPS, _SECONDS, _STILL = 10, 10.0, 8.0
_RANDOM = np.random.default_rng(0)


def _room() -> np.ndarray:
    scene = np.full((480, 640, 3), 120.0)
    scene[300:] = 90
    scene[120:280, 80:240] = (150, 140, 120)
    return np.clip(scene + _RANDOM.normal(0, 4, scene.shape), 0, 255).astype(np.uint8)


def _encode(rgb: np.ndarray) -> bytes:
    return cv2.imencode(".jpg", rgb[..., ::-1])[1].tobytes()


class _Yard:
    """A camera that sends an empty room, until a cat walks in."""

    def __init__(self) -> None:
        self._empty = [_encode(_room()) for _ in range(16)]
        cat = np.asarray(draw("cat", 1, 240), np.uint8)
        self._visit = []
        for step in range(40):
            image = _room()
            left = min(step * 10, 380)
            image[200:440, left : left + 240] = cat
            self._visit.append(_encode(image))
        self.entered = 0.0
        self._steps = 0

    def enter(self) -> None:
        """Lets the cat walk in with the next frame."""
        self._steps = 1

    def frame(self, number: int) -> bytes:
        """Returns the next frame."""
        if not self._steps:
            return self._empty[number % len(self._empty)]
        if self._steps == 1:
            self.entered = time.time()
        self._steps += 1
        return self._visit[min(self._steps - 2, len(self._visit) - 1)]


@contextmanager
def _serve(yard: _Yard) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=x")
            self.end_headers()
            due, number = time.monotonic(), 0
            while True:
                data = yard.frame(number)
                try:
                    self.wfile.write(b"--x\r\nContent-Type: image/jpeg\r\n\r\n" + data + b"\r\n")
                except OSError:
                    return
                number += 1
                due += 1 / _FPS
                time.sleep(max(due - time.monotonic(), 0))

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()


def _run(sources: list[str], *options: str, yard: _Yard | None = None) -> dict[str, float]:
    """Runs the command for a while; `yard` lets a cat walk in at the end."""
    command = [str(Path(sys.executable).with_name("catsdogs-cam")), *sources, "--no-window", "--jsonl", "-", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        rows: list[tuple[float, dict[str, object]]] = []

        def read() -> None:
            rows.extend((time.time(), json.loads(line)) for line in process.stdout or ())

        reader = threading.Thread(target=read)
        reader.start()
        while not rows:
            time.sleep(0.05)
        time.sleep(_STILL if "--motion" in options else 2.0)  # the background is learned
        before, begun = _cpu(process.pid), time.monotonic()
        time.sleep(_SECONDS)
        cpu = (_cpu(process.pid) - before) / (time.monotonic() - begun)
        status = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
        found = {"cpu": cpu, "memory": int(status.split("VmHWM:")[1].split()[0]) / 1024}
        if yard:
            yard.enter()
            time.sleep(3.0)
        process.terminate()
        reader.join()
    if yard:
        seen = [moment for moment, row in rows if moment > yard.entered and row["label"] is not None]
        found["first ms"] = 1000 * (seen[0] - yard.entered) if seen else float("nan")
    return found


def _cpu(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


@app.command()
def main(rounds: Annotated[int, typer.Option(help="Measurements of each kind.")] = 3) -> None:
    """Prints CPU seconds a second, memory, and how soon a cat that enters is classified; medians."""
    found: dict[str, list[dict[str, float]]] = {}
    for _ in range(rounds):
        first, second, third = _Yard(), _Yard(), _Yard()
        with _serve(first) as one, _serve(second) as other, _serve(third) as watched:
            found.setdefault("one camera", []).append(_run([one]))
            found.setdefault("one camera, --motion, nothing moves", []).append(_run([watched], "--motion", yard=third))
            found.setdefault("two cameras", []).append(_run([one, other]))
    typer.echo(f"640 x 480, {_FPS} fps, MJPEG over HTTP, {MODEL.name}; medians of {rounds}")
    for name, values in found.items():
        middle = {key: statistics.median(value[key] for value in values) for key in values[0]}
        first_ms = (
            f"  a cat that enters is classified after {middle['first ms']:.0f} ms" if "first ms" in middle else ""
        )
        typer.echo(f"{name:<36} {middle['cpu']:5.2f} CPU s a second  {middle['memory']:4.0f} MB at most{first_ms}")


if __name__ == "__main__":
    app()
