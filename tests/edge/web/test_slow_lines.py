"""Viewers on bad lines, viewers that never read, and many that come and go."""

import os
import socket
import threading
import time
from urllib.parse import urlsplit

import cv2
import httpx
import numpy as np
import pytest

from catsdogs_edge.images.decode import RgbImage, decode
from tests.edge.conftest import RED, plain
from tests.edge.web.conftest import FakeCamera, resident, wait_until
from tests.edge.web.proxies import Proxy
from tests.edge.web.test_live import connect, words
from tests.processes import join

pytestmark = pytest.mark.slow

RATE, SECONDS = 100_000, 24.0  # of the line, in bytes a second, and of the measurement
FPS = 15
BITS, BLOCK = 16, 24


def numbered(number: int, noise: RgbImage) -> RgbImage:
    """A frame of 640 x 480 and about 35 kB that says which one it is: bits as black and white blocks."""
    image = noise.copy()
    for bit in range(BITS):
        image[:BLOCK, bit * BLOCK : (bit + 1) * BLOCK] = 255 * (number >> bit & 1)
    return image


def read_number(jpeg: bytes) -> int:
    row = decode(jpeg)[BLOCK // 2, BLOCK // 2 : BITS * BLOCK : BLOCK, 0]
    return sum(int(value > 127) << bit for bit, value in enumerate(row))


class NumberedCamera:
    """Shows numbered frames at a rate, and remembers when each was shown."""

    def __init__(self, camera: FakeCamera) -> None:
        random = np.random.default_rng(0)
        noise = np.clip(plain(RED, 480, 640) + random.normal(0, 5, (480, 640, 3)), 0, 255).astype(np.uint8)
        self._noise = np.asarray(cv2.GaussianBlur(noise, (0, 0), 0.7), np.uint8)
        self._camera = camera
        self.shown: dict[int, float] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        number = 0
        while not self._stopping.wait(1 / FPS):
            number += 1
            self.shown[number] = time.monotonic()
            self._camera.show("cat", rgb=numbered(number, self._noise))

    def age(self, jpeg: bytes) -> float:
        return time.monotonic() - self.shown[read_number(jpeg)]

    def stop(self) -> None:
        self._stopping.set()
        join(self._thread)


def watch_stream(url: str, camera: NumberedCamera, ages: list[float], until: float) -> None:
    """Notes how old each image of an MJPEG stream is when it has arrived."""
    data = b""
    address = urlsplit(url)
    with socket.socket() as stream:
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        stream.connect((address.hostname, address.port))
        stream.settimeout(SECONDS)
        stream.sendall(b"GET /stream.mjpg?drawn=0 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        while time.monotonic() < until:
            try:
                data += stream.recv(8192)
            except TimeoutError:
                ages.append(SECONDS)
                return
            while (start := data.find(b"\xff\xd8")) >= 0 and (end := data.find(b"\xff\xd9", start)) >= 0:
                ages.append(camera.age(data[start : end + 2]))
                data = data[end + 2 :]


def watch_frames(url: str, camera: NumberedCamera, ages: list[float], until: float) -> None:
    """Notes how old each frame is that is asked for, one after the other."""
    after = 0
    while time.monotonic() < until:
        answer = httpx.get(f"{url}frame.jpg?after={after}", timeout=20)
        after = int(str(words(answer)["sequence"]))
        ages.append(camera.age(answer.content))


def test_a_slow_line_shows_the_present(camera: FakeCamera) -> None:
    """Pushed images wait in the kernel's buffers, which are kept small; those that are asked for do not."""
    numbered_camera = NumberedCamera(camera)
    until = time.monotonic() + SECONDS
    ages: dict[str, list[float]] = {"pull": [], "push": [], "fast": []}
    with Proxy(camera.url, rate=RATE) as one, Proxy(camera.url, rate=RATE) as other:
        threads = [
            threading.Thread(target=watch_frames, args=(one.url, numbered_camera, ages["pull"], until)),
            threading.Thread(target=watch_stream, args=(other.url, numbered_camera, ages["push"], until)),
            threading.Thread(target=watch_frames, args=(camera.url, numbered_camera, ages["fast"], until)),
        ]
        for thread in threads:
            thread.start()
        join(*threads)
    numbered_camera.stop()
    assert max(ages["pull"][-5:]) <= 1.5
    assert max(ages["push"][-5:]) <= 4
    assert len(ages["fast"]) > 0.8 * len(numbered_camera.shown)


def test_a_viewer_that_never_reads_is_cut(camera: FakeCamera) -> None:
    numbered_camera = NumberedCamera(camera)
    address = urlsplit(camera.url)
    with socket.socket() as stream:
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stream.connect((address.hostname, address.port))
        stream.sendall(b"GET /stream.mjpg HTTP/1.1\r\nHost: localhost\r\n\r\n")
        wait_until(lambda: camera.hub.viewers == 1)
        wait_until(lambda: camera.hub.viewers == 0, 30)
    numbered_camera.stop()


def test_a_thousand_viewers_that_come_and_go_leave_nothing(camera: FakeCamera) -> None:
    camera.run(FPS)

    def come_and_go(count: int) -> None:
        for number in range(count):
            path = ("/stream.mjpg", "/api/v1/events/stream", "/frame.jpg")[number % 3]
            with connect(camera.url, path) as stream:
                assert stream.recv(1000).startswith(b"HTTP/1.1 200")
        wait_until(lambda: camera.hub.viewers == 0)

    come_and_go(100)
    memory, files = resident(), len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - names alone
    come_and_go(1000)
    assert resident() - memory < 20 * 2**20
    wait_until(lambda: len(os.listdir("/proc/self/fd")) <= files + 2)  # noqa: PTH208
