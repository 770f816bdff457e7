"""A server that shows a camera made by code, and one that shows none."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
import pytest

from catsdogs_edge.capture.frames import Frame, State
from catsdogs_edge.images.decode import RgbImage
from catsdogs_edge.model.classifier import Classifier
from catsdogs_edge.model.info import ModelInfo
from catsdogs_edge.stream.frame_result import FrameResult
from catsdogs_edge.stream.pipeline import FrameClassifier
from catsdogs_edge.web.app import make_context
from catsdogs_edge.web.options import Access
from catsdogs_edge.web.server import WebServer
from catsdogs_edge.web.sink import WebSink
from tests.edge.conftest import BLUE, GREY, RED, plain
from tests.processes import join

COLOURS = {"cat": RED, "dog": BLUE, "neither": GREY}
LOCAL = Access(host="127.0.0.1", port=0)


def wait_until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    """Waits until something holds; fails where it does not."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


def resident() -> int:
    """Bytes of memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def noisy(label: str, number: int, height: int = 120, width: int = 160) -> RgbImage:
    """A frame that the tiny model takes for `label`, unlike the one before."""
    noise = np.random.default_rng(number).integers(-6, 7, (height, width, 3))
    return np.asarray(np.clip(plain(COLOURS[label], height, width) + noise, 0, 255), np.uint8)


class FakeCamera:
    """Writes frames to a sink as `catsdogs-cam` does: one after the other, or at a rate, in a thread."""

    def __init__(self, sink: WebSink, classifier: Classifier) -> None:
        self.sink = sink
        self.url = sink.url
        self.hub = sink._hub
        self.history = sink._history
        self._classifier = classifier
        self._frames = FrameClassifier(classifier, smoothing=0)
        self.number = 0
        self.label = "cat"
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def show(self, label: str, *, rgb: RgbImage | None = None, moment: float | None = None) -> FrameResult:
        """Lets the camera see something."""
        rgb = noisy(label, self.number) if rgb is None else rgb
        moment = time.time() if moment is None else moment
        return self._write(self._frames.classify(self._frame(rgb, moment)))

    def stay(self) -> None:
        """Lets nothing move, as with `--motion`."""
        frame = self._frame(noisy("cat", self.number), time.time())
        self._write(FrameResult(frame=frame, fps=0, moving=False))

    def lose(self, state: State = State.LOST, error: str = "the cable is out") -> None:
        """Lets the camera say that it sees nothing."""
        self._write(FrameResult(frame=Frame(number=self.number, rgb=None, state=state, error=error), fps=0))

    def run(self, fps: float) -> None:
        """Shows `label` again and again, until `stop`."""
        self._thread = threading.Thread(target=self._run, args=(1 / fps,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ends that."""
        self._stopping.set()
        if self._thread:
            join(self._thread)

    def _run(self, interval: float) -> None:
        due = time.monotonic()
        while not self._stopping.is_set():
            self.show(self.label)
            due = max(due + interval, time.monotonic() - interval)
            time.sleep(max(due - time.monotonic(), 0))

    def _frame(self, rgb: RgbImage, moment: float) -> Frame:
        return Frame(number=self.number, rgb=rgb, time=moment)

    def _write(self, result: FrameResult) -> FrameResult:
        self.number += 1
        assert self.sink.write(result)
        return result


@pytest.fixture(scope="session")
def classifier(familiar: Path) -> Classifier:
    """The tiny model."""
    return Classifier.load(familiar, threads=1)


@contextmanager
def open_camera(classifier: Classifier, familiar: Path, access: Access = LOCAL) -> Iterator[FakeCamera]:
    """Opens a server that shows a camera."""
    camera = FakeCamera(
        WebSink(classifier, ModelInfo.from_classifier(classifier, familiar), "camera 0", access), classifier
    )
    try:
        yield camera
    finally:
        camera.stop()
        camera.sink.close()


@pytest.fixture
def camera(classifier: Classifier, familiar: Path) -> Iterator[FakeCamera]:
    """A server that shows a camera."""
    with open_camera(classifier, familiar) as opened:
        yield opened


@pytest.fixture
def client(camera: FakeCamera) -> Iterator[httpx.Client]:
    """A client of it."""
    with httpx.Client(base_url=camera.url, timeout=20) as opened:
        yield opened


@contextmanager
def open_server(classifier: Classifier, model: Path, access: Access = LOCAL) -> Iterator[httpx.Client]:
    """Opens a server without a camera, and a client of it."""
    server = WebServer(make_context(classifier, model, access, None))
    try:
        with httpx.Client(base_url=server.url, timeout=20) as opened:
            yield opened
    finally:
        server.close()


@pytest.fixture(scope="module")
def plain_client(classifier: Classifier, familiar: Path) -> Iterator[httpx.Client]:
    """A client of a server without a camera."""
    with open_server(classifier, familiar) as opened:
        yield opened
