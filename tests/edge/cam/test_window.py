"""The window, on a display without a screen (Xvfb), with real key presses (xdotool). Needs OpenCV with windows."""

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import cv2
import pytest

from catsdogs_edge.cam.window import Window
from catsdogs_edge.capture.frames import Frame
from catsdogs_edge.model.bundled import MODEL
from catsdogs_edge.model.classifier import Classifier
from catsdogs_edge.stream.explain import Explainer
from tests.edge.conftest import BLUE, RED, encode, plain, write_video
from tests.processes import ending

pytestmark = pytest.mark.skipif(
    not cv2.currentUIFramework() or not shutil.which("Xvfb") or not shutil.which("xdotool"),
    reason="needs opencv-python with windows (not headless), Xvfb and xdotool",
)


@pytest.fixture(scope="module")
def display() -> Iterator[dict[str, str]]:
    """The environment of a display."""
    read, write = os.pipe()
    with ending(
        subprocess.Popen(
            ["Xvfb", "-displayfd", str(write), "-screen", "0", "1024x768x24"],
            pass_fds=[write],
            stderr=subprocess.DEVNULL,
        )
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
    cam.press("w")  # where the answer comes from
    before = cam.count()
    cam.feed(1.0)
    assert cam.count() > before
    cam.press("q")
    cam.feed(1.0)
    assert cam.process.wait(20) == 0


def windows(display: dict[str, str]) -> list[str]:
    """The titles of our windows."""
    tool = partial(subprocess.run, capture_output=True, text=True, check=False, env=display)
    found = tool(["xdotool", "search", "--name", "catsdogs"]).stdout.split()
    return sorted(tool(["xdotool", "getwindowname", window]).stdout.strip() for window in found)


def press(display: dict[str, str], key: str) -> None:
    tool = partial(subprocess.run, capture_output=True, text=True, check=False, env=display)
    window = tool(["xdotool", "search", "--name", "catsdogs"]).stdout.split()[-1]
    tool(["xdotool", "windowfocus", window])
    tool(["xdotool", "key", "--window", window, key])


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


def test_an_image_stays_until_a_key_is_pressed(
    scripts: Path, tiny: Path, display: dict[str, str], tmp_path: Path
) -> None:
    rows = tmp_path / "rows.jsonl"
    for name, colour in (("a", RED), ("b", BLUE)):
        (tmp_path / f"{name}.png").write_bytes(encode(plain(colour, 120, 160)))
    command: list[str | Path] = [scripts / "catsdogs-cam", tmp_path, "--model", tiny, "--jsonl", rows]
    with ending(subprocess.Popen(command, env=display, stderr=subprocess.DEVNULL)) as process:
        for count in (1, 2):
            wait_until(lambda: rows.exists() and len(rows.read_text().splitlines()) == count)  # noqa: B023
            time.sleep(1)
            assert process.poll() is None
            assert len(rows.read_text().splitlines()) == count
            press(display, "space")
        assert process.wait(20) == 0


def test_each_of_several_sources_has_a_window(
    scripts: Path, tiny: Path, display: dict[str, str], tmp_path: Path
) -> None:
    videos = [tmp_path / "a.avi", tmp_path / "b.avi"]
    for video, colour in zip(videos, (RED, BLUE), strict=True):
        write_video(video, [plain(colour, 120, 160)] * 400)
    command: list[str | Path] = [scripts / "catsdogs-cam", *videos, "--model", tiny]
    with ending(subprocess.Popen(command, env=display, stderr=subprocess.DEVNULL)) as process:
        wait_until(lambda: windows(display) == [f"catsdogs: {video}" for video in videos])
        press(display, "q")
        assert process.wait(20) == 0


def test_a_display_that_does_not_answer_is_said_and_all_goes_on(scripts: Path, tiny: Path, video: Path) -> None:
    done = subprocess.run(
        [scripts / "catsdogs-cam", video, "--model", tiny], capture_output=True, text=True, check=False,
        env=os.environ | {"DISPLAY": ":987"},
    )  # fmt: skip
    assert done.returncode == 0
    assert done.stderr.count("No window: the display :987 does not answer.") == 1
    assert len(done.stdout.splitlines()) == 10


def test_a_frame_that_cannot_be_saved_ends_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").touch()
    window = Window.__new__(Window)  # without a display
    window._explainer = Explainer(Classifier.load(MODEL))
    window._snapshots = tmp_path / "file"
    frame = Frame(number=0, rgb=plain(RED, 120, 160))
    assert window._handle(ord("s"), frame) == ord("s")
    assert "The frame is not saved: " in caplog.text
