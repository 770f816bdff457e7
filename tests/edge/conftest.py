"""Images made by code, and the tiny model."""

import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
import onnxruntime as ort
import pytest

from catsdogs_edge.images.decode import RgbImage
from catsdogs_edge.images.drawings import draw

no_cuda = pytest.mark.skipif(
    "CUDAExecutionProvider" in ort.get_available_providers(), reason="this ONNX Runtime may really have CUDA"
)

RED, BLUE, GREY = (220, 30, 40), (30, 40, 220), (122, 120, 118)
"""Colours (RGB) that the tiny model calls cat and dog, and, with a familiarity score, neither."""


def plain(colour: tuple[int, int, int], height: int = 60, width: int = 80) -> RgbImage:
    """One colour all over, shape (height, width, 3), RGB."""
    return np.full((height, width, 3), colour, np.uint8)


def encode(rgb: RgbImage, ending: str = ".png") -> bytes:
    """An encoded file's bytes."""
    done, data = cv2.imencode(ending, cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))
    assert done
    return data.tobytes()


NOT_ON_WINDOWS = {
    "signals that Windows does not have": (
        "cam/test_visits", "cam/test_watchdog", "classify/test_attempts", "cli/test_faults", "cli/test_serve",
    ),
    "commands of a Unix shell": ("cam/test_events", "cli/test_cam", "cli/test_overview"),
    "names that Windows refuses, or its other texts for them": (
        "classify/test_sorter.py", "cli/test_classify", "cli/test_config", "cli/test_hostile", "cli/test_safety",
        "images/test_decode", "images/test_discovery", "output/test_files", "web/test_images",
    ),
    "files that are removed or replaced while they are open": (
        "classify/test_resume", "classify/test_sorter_machine", "classify/test_watch", "collection",
        "output/test_names", "output/test_quota", "output/test_rows",
    ),
    "/proc, or another place of Linux": ("cli/test_bench", "runtime/test_session", "test_public", "web/test_status"),
    "its own network errors": ("web/test_server",),
    "exit codes of Unix": ("capture/test_cameras",),
}  # fmt: skip
"""Tests that assume something of Unix, by what; nobody has ported them, so what they test is untested on Windows."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if sys.platform == "win32":
        here = Path(__file__).parent
        for item in items:
            place = item.path.relative_to(here).as_posix()
            for what, files in NOT_ON_WINDOWS.items():
                if place.startswith(files):
                    item.add_marker(pytest.mark.skip(reason=f"assumes {what}"))


@pytest.fixture(scope="session")
def tiny() -> Path:
    """The tiny model's file."""
    return Path(__file__).with_name("tiny.onnx")


@pytest.fixture(scope="session")
def familiar() -> Path:
    """The same with a familiarity score: grey is neither."""
    return Path(__file__).with_name("familiar.onnx")


@pytest.fixture(scope="session")
def no_display() -> dict[str, str]:
    """The environment of a box without a display."""
    return {key: value for key, value in os.environ.items() if key not in {"DISPLAY", "WAYLAND_DISPLAY"}}


def write_video(path: Path, frames: Iterable[RgbImage], codec: str = "MJPG", fps: float = 25) -> Path:
    """Writes a video of frames of one size."""
    writer = None
    for rgb in frames:
        writer = writer or cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), fps, rgb.shape[1::-1])
        writer.write(cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))
    assert writer is not None
    writer.release()
    return path


@pytest.fixture(scope="session")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of 6 red frames and then 4 blue ones, 25 a second."""
    colours = [RED] * 6 + [BLUE] * 4
    return write_video(tmp_path_factory.mktemp("video") / "pets.avi", (plain(colour, 120, 160) for colour in colours))


@pytest.fixture(scope="session")
def pets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of 30 drawn cats and dogs, 15 a second, no two frames alike."""
    frames = (np.asarray(draw("cat" if number < 15 else "dog", number, 240), np.uint8) for number in range(30))
    return write_video(tmp_path_factory.mktemp("video") / "drawn.avi", frames, fps=15)


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """Two cats, a dog, a broken image, and things that are no images."""
    folder = tmp_path / "album"
    (folder / "sub").mkdir(parents=True)
    (folder / ".hidden").mkdir()
    (folder / "a cat.png").write_bytes(encode(plain(RED)))
    (folder / "sub" / "кот, 'б'.jpg").write_bytes(encode(plain(RED), ".jpg"))
    (folder / "dog.JPG").write_bytes(encode(plain(BLUE), ".jpg"))
    (folder / "torn.jpg").write_bytes(encode(plain(RED, 400, 400), ".jpg")[:2000])
    (folder / "notes.txt").write_text("no image")
    (folder / "Thumbs.db").write_bytes(b"\0" * 9)
    (folder / ".hidden" / "x.png").write_bytes(encode(plain(RED)))
    return folder


def make_certificate(folder: Path, *key_type: str) -> tuple[Path, Path]:
    """Writes a certificate of this machine and its key, of an elliptic curve if nothing else is said to OpenSSL."""
    certificate, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", *(key_type or ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256")), "-nodes",
         "-days", "1", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
         "-out", certificate, "-keyout", key], check=True, capture_output=True,
    )  # fmt: skip
    return certificate, key
