"""Cameras as Linux lists them, drawn as folders and links; no camera is needed."""

import os
import sys
import time
from pathlib import Path

import pytest

from catsdogs_edge.capture.cameras import Camera, Probe, _named, find_cameras, probe, probe_by, to_lines
from catsdogs_edge.errors import SourceError

linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux lists its cameras as files")


@pytest.fixture
def system(tmp_path: Path) -> tuple[Path, Path]:
    """Two cameras; the second has a node for metadata, too, and no stable name."""
    listing, devices = tmp_path / "sys", tmp_path / "dev"
    for number, name, index in ((0, "HD Pro Webcam C920", "0"), (2, "Laptop", "0"), (10, "Laptop", "1")):
        entry = listing / f"video{number}"
        entry.mkdir(parents=True)
        (entry / "name").write_text(f"{name}\n")
        (entry / "index").write_text(f"{index}\n")
    (devices / "v4l" / "by-id").mkdir(parents=True)
    for number in (0, 2, 10):
        (devices / f"video{number}").touch()
    (devices / "v4l" / "by-id" / "usb-046d_HD_Pro_Webcam_C920-video-index0").symlink_to("../../video0")
    return listing, devices


@linux
def test_each_camera_is_listed_once_with_its_stable_name(system: tuple[Path, Path]) -> None:
    listing, devices = system
    first, second = find_cameras(listing, devices)
    assert (first.index, first.name, first.permission) == (0, "HD Pro Webcam C920", "ok")
    assert first.path == str(devices / "v4l" / "by-id" / "usb-046d_HD_Pro_Webcam_C920-video-index0")
    assert (second.index, second.path) == (2, str(devices / "video2"))


@linux
def test_a_camera_that_the_container_does_not_have_is_said(system: tuple[Path, Path]) -> None:
    listing, devices = system
    (devices / "video2").unlink()
    assert "passed to this container" in find_cameras(listing, devices)[1].permission


@linux
@pytest.mark.skipif(getattr(os, "geteuid", int)() == 0, reason="root may open everything")
def test_a_camera_that_may_not_be_opened_is_said(system: tuple[Path, Path]) -> None:
    listing, devices = system
    (devices / "video2").chmod(0)
    assert "usermod" in find_cameras(listing, devices)[1].permission


def test_a_name_must_be_that_of_one_camera() -> None:
    cameras = [Camera(0, "/dev/video0", "Logitech C920", "ok"), Camera(2, "/dev/video2", "Logitech C270", "ok")]
    assert _named("c920", cameras) == "/dev/video0"
    assert _named("C270", cameras) == "/dev/video2"
    with pytest.raises(SourceError, match=r"2 cameras match 'cam:logitech', expected one; there is: 'Logitech C920'"):
        _named("logitech", cameras)
    with pytest.raises(SourceError, match="0 cameras match 'cam:Pi'"):
        _named("Pi", cameras)
    with pytest.raises(SourceError, match="there is: none"):
        _named("C920", [])


def test_a_driver_that_hangs_does_not_hang_us() -> None:
    start = time.monotonic()
    found = probe_by([sys.executable, "-c", "import time; time.sleep(60)"], deadline=0.5)
    assert found.problem == "its driver does not answer within 0 s"
    assert time.monotonic() - start < 5


def test_a_driver_that_crashes_does_not_crash_us() -> None:
    assert "exit code -6" in probe_by([sys.executable, "-c", "import os; os.abort()"], deadline=10).problem


def test_probing_what_is_no_camera_says_so(tmp_path: Path) -> None:
    (tmp_path / "video0").touch()
    good, closed = Camera(0, str(tmp_path / "video0"), "x", "ok"), Camera(1, "", "y", "may not be opened")
    found = probe([good, closed])
    assert "cannot be opened" in found[0].problem
    assert found[1].problem == "may not be opened"


def test_lines_for_people() -> None:
    cameras = [Camera(0, "/dev/video0", "C920", "ok"), Camera(1, "/dev/video1", "C270", "ok")]
    probes = [Probe("V4L2", 1280, 720, 29.97, 0.412), Probe(problem="it opens, but delivers no frame")]
    assert to_lines(cameras, probes) == (
        "0  C920  /dev/video0: V4L2, 1280x720, 30 fps, first frame after 0.41 s\n"
        "1  C270  /dev/video1: it opens, but delivers no frame"
    )
    assert to_lines([], []).startswith("No camera found: ")
