import json
import os
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest

from catsdogs_edge.classifier import Prediction
from catsdogs_edge.overlay import draw_overlay
from tests.edge.conftest import BLUE, RED, plain


@pytest.fixture(scope="session")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of 6 red frames and then 4 blue ones."""
    path = tmp_path_factory.mktemp("video") / "pets.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25, (160, 120))
    for colour in [RED] * 6 + [BLUE] * 4:
        writer.write(cv2.cvtColor(plain(colour, 120, 160), cv2.COLOR_RGB2BGR))
    writer.release()
    return path


@pytest.fixture(scope="session")
def no_display() -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if key not in {"DISPLAY", "WAYLAND_DISPLAY"}}


def cam(scripts: Path, env: dict[str, str], *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([scripts / "catsdogs-cam", *arguments], capture_output=True, text=True, check=False, env=env)


def test_json_lines_on_standard_output(scripts: Path, no_display: dict[str, str], video: Path, tiny: Path) -> None:
    done = cam(scripts, no_display, video, "--model", tiny, "--no-window")
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["label"] for row in rows] == ["cat"] * 6 + ["dog"] * 4
    assert [row["frame"] for row in rows] == list(range(10))
    assert rows[0]["probabilities"].keys() == {"cat", "dog"}
    assert rows[0]["probability"] == rows[0]["probabilities"]["cat"] > 0.99
    assert rows[0]["schema"] == 1
    assert all(row["latency_ms"] > 0 for row in rows)
    (line,) = done.stderr.splitlines()
    assert line.startswith("10 frames of")


def test_json_lines_in_a_file_and_a_limit(
    scripts: Path, no_display: dict[str, str], video: Path, tiny: Path, tmp_path: Path
) -> None:
    out = tmp_path / "rows.jsonl"
    done = cam(scripts, no_display, video, "--model", tiny, "--no-window", "--jsonl", out, "--frames", "3")
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert len(out.read_text().splitlines()) == 3


def test_without_a_display_it_says_so_and_goes_on(
    scripts: Path, no_display: dict[str, str], video: Path, tiny: Path
) -> None:
    done = cam(scripts, no_display, video, "--model", tiny)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("No window: ") == 1
    assert len(done.stdout.splitlines()) == 10


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("97", "camera 97 cannot be opened"),
        ("missing.mp4", "no such video file"),
        (__file__, "is not a video"),
    ],
)
def test_a_source_that_does_not_open_fails_with_one_line(
    scripts: Path, no_display: dict[str, str], source: str, message: str, tiny: Path
) -> None:
    done = cam(scripts, no_display, source, "--model", tiny, "--no-window")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert message in line


def test_the_overlay_leaves_the_frame_alone_and_shows_more_for_more() -> None:
    frame = np.full((480, 640, 3), 128, np.uint8)
    sure = draw_overlay(frame, Prediction("cat", 0.9, (0.9, 0.1)), 12)
    unsure = draw_overlay(frame, Prediction("cat", 0.5, (0.5, 0.5)), 12)
    assert np.all(frame == 128)
    assert np.array_equal(sure[:400], frame[:400])
    orange = [np.all(image == (0, 159, 230), axis=2).sum() for image in (sure, unsure)]
    assert orange[0] > 1.3 * orange[1]


@pytest.mark.parametrize("shape", [(1, 1), (20, 30), (2160, 3840)])
def test_the_overlay_fits_any_frame(shape: tuple[int, int]) -> None:
    frame = np.zeros((*shape, 3), np.uint8)
    assert draw_overlay(frame, Prediction("dog", 1.0, (0.0, 1.0)), 1).shape == frame.shape
