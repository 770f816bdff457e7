"""The window, on a display without a screen (Xvfb), with real key presses (xdotool). Needs OpenCV with windows."""

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import pytest

from tests.edge.conftest import RED, plain

pytestmark = pytest.mark.skipif(
    not cv2.currentUIFramework() or not shutil.which("Xvfb") or not shutil.which("xdotool"),
    reason="needs opencv-python with windows (not headless), Xvfb and xdotool",
)


@pytest.fixture(scope="module")
def display() -> Iterator[dict[str, str]]:
    """The environment of a display."""
    read, write = os.pipe()
    with subprocess.Popen(
        ["Xvfb", "-displayfd", str(write), "-screen", "0", "1024x768x24"], pass_fds=[write], stderr=subprocess.DEVNULL
    ) as server:
        os.close(write)
        with os.fdopen(read) as answer:
            number = answer.readline().strip()
        yield os.environ | {"DISPLAY": f":{number}"}
        server.terminate()


class Cam:
    """`catsdogs-cam` on raw frames, with a window."""

    def __init__(self, scripts: Path, tiny: Path, display: dict[str, str], folder: Path) -> None:
        self.display = display
        self.rows = folder / "rows.jsonl"
        self.process = subprocess.Popen(
            [scripts / "catsdogs-cam", "-", "--raw", "160x120", "--model", tiny, "--jsonl", self.rows],
            stdin=subprocess.PIPE, stderr=subprocess.PIPE, env=display, cwd=folder,
        )  # fmt: skip

    def feed(self, seconds: float) -> None:
        """Sends frames for a while; what does not fit into the pipe waits."""
        assert self.process.stdin
        os.set_blocking(self.process.stdin.fileno(), False)
        frame, end = plain(RED, 120, 160).tobytes(), time.monotonic() + seconds
        rest = getattr(self, "rest", b"")
        while time.monotonic() < end:
            rest = rest or frame
            try:
                rest = rest[os.write(self.process.stdin.fileno(), rest) :]
            except BlockingIOError:
                time.sleep(0.01)
            except BrokenPipeError:  # it has ended
                return
        self.rest = rest

    def wait_for_window(self) -> None:
        for _ in range(100):
            self.feed(0.2)
            if self.rows.exists() and self.rows.stat().st_size and self.tool("search", "--name", "catsdogs"):
                return
        raise AssertionError("no window")

    def tool(self, *arguments: str) -> str:
        done = subprocess.run(["xdotool", *arguments], capture_output=True, text=True, check=False, env=self.display)
        return done.stdout.strip()

    def press(self, key: str) -> None:
        window = self.tool("search", "--name", "catsdogs").splitlines()[-1]
        self.tool("windowfocus", window)
        self.tool("key", "--window", window, key)

    def count(self) -> int:
        return len([json.loads(line) for line in self.rows.read_text().splitlines()])


@pytest.fixture
def cam(scripts: Path, tiny: Path, display: dict[str, str], tmp_path: Path) -> Iterator[Cam]:
    running = Cam(scripts, tiny, display, tmp_path)
    yield running
    running.process.kill()
    running.process.communicate()


def test_the_keys(cam: Cam, tmp_path: Path) -> None:
    cam.wait_for_window()
    cam.press("s")
    cam.feed(0.5)
    (snapshot,) = tmp_path.glob("catsdogs-*.png")
    assert re.fullmatch(r"catsdogs-\d{8}-\d{6}-\d+\.png", snapshot.name)
    image = cv2.imread(str(snapshot))
    assert image is not None
    assert (image == plain(RED, 120, 160)[..., ::-1]).all()  # the frame, without what is drawn on it
    cam.press("space")
    cam.feed(0.5)
    paused = cam.count()
    cam.feed(0.5)
    assert cam.count() == paused
    cam.press("space")
    cam.feed(1.0)
    assert cam.count() > paused
    cam.press("m")
    cam.feed(0.5)
    cam.press("q")
    cam.feed(1.0)
    assert cam.process.wait(20) == 0


def test_a_display_that_does_not_answer_is_said_and_all_goes_on(scripts: Path, tiny: Path, video: Path) -> None:
    done = subprocess.run(
        [scripts / "catsdogs-cam", video, "--model", tiny], capture_output=True, text=True, check=False,
        env=os.environ | {"DISPLAY": ":987"},
    )  # fmt: skip
    assert done.returncode == 0
    assert done.stderr.count("No window: the display :987 does not answer.") == 1
    assert len(done.stdout.splitlines()) == 10
