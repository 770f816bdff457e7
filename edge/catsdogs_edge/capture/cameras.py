"""Finds cameras, opens them by index, path or name, and tries each in a process of its own.

A driver that hangs can hang whoever asks it, for good: so `probe` asks from a child process with a deadline.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2

from catsdogs_edge.capture.frames import Size
from catsdogs_edge.errors import SourceError
from catsdogs_edge.runtime.children import python

# Named, because OpenCV would try GStreamer first, and wait for it
_BACKENDS = {"linux": cv2.CAP_V4L2, "darwin": cv2.CAP_AVFOUNDATION, "win32": cv2.CAP_DSHOW}
_TRIED_ELSEWHERE = 5  # indices, where the system does not list its cameras
_TIMED_FRAMES = 15
_UNKNOWN = "not known"


@dataclass(frozen=True, slots=True)
class Camera:
    """One camera that the system knows."""

    index: int
    """The number that `catsdogs-cam` takes; it may change when cameras are plugged in or out."""
    path: str
    """The stable name of the device (`/dev/v4l/by-id/...`) where there is one, else `/dev/video...`; empty elsewhere
    than on Linux."""
    name: str
    permission: str
    """`ok`, or why it cannot be opened and what to do; elsewhere than on Linux `not known`."""


@dataclass(frozen=True, slots=True)
class Probe:
    """What a camera really did."""

    backend: str = ""
    """OpenCV's name of what opened the camera; empty if nothing did."""
    width: int = 0
    """Pixels of the first frame; 0 if none came."""
    height: int = 0
    fps: float = 0.0
    """Frames a second, measured, not promised."""
    first_frame: float = 0.0
    """Seconds from opening to the first frame."""
    problem: str = ""
    """Why there is no frame; empty if there was one."""


def open_camera(source: str, size: Size | None = None) -> cv2.VideoCapture:
    """Opens a camera by its index, a device's path, or `cam:` and a part of its name; asks for frames of a size.

    A name is looked up anew each time: a camera that was plugged in again may have another index. Raises `SourceError`
    where there is none, several have that name, or it cannot be opened.
    """
    if source.startswith("cam:"):
        if sys.platform != "linux":
            raise SourceError(f"{source}: cameras have names on Linux alone, give a number such as 0")
        source = _named(source.removeprefix("cam:"), find_cameras())
    capture = cv2.VideoCapture(int(source) if source.isdecimal() else source, _BACKENDS.get(sys.platform, cv2.CAP_ANY))
    if not capture.isOpened():
        raise SourceError(
            f"camera {source} cannot be opened: is it plugged in, and not used by another program? "
            "(catsdogs-cam --list shows what is there)"
        )
    # Before the size: uncompressed, many cameras reach 10 frames a second at most.
    capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG"))
    if size:
        capture.set(cv2.CAP_PROP_FRAME_WIDTH, size.width)
        capture.set(cv2.CAP_PROP_FRAME_HEIGHT, size.height)
    capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
    return capture


def find_cameras(listing: Path = Path("/sys/class/video4linux"), devices: Path = Path("/dev")) -> list[Camera]:
    """Lists the cameras that Linux lists (or a few indices elsewhere) without opening them, by index."""
    if sys.platform != "linux":
        return [Camera(index, "", f"camera {index}", _UNKNOWN) for index in range(_TRIED_ELSEWHERE)]
    by_id = sorted((devices / "v4l" / "by-id").glob("*"))
    stable = {link.resolve(): str(link) for link in by_id}
    cameras = []
    for entry in listing.glob("video*"):
        if _text(entry / "index") not in {"", "0"}:
            continue  # a second node of the same camera, for metadata
        node = devices / entry.name
        index = int(entry.name.removeprefix("video"))
        name = _text(entry / "name") or entry.name
        cameras.append(Camera(index, stable.get(node.resolve(), str(node)), name, _permission(node)))
    return sorted(cameras, key=lambda camera: camera.index)


def probe(cameras: Iterable[Camera], deadline: float = 10.0) -> list[Probe]:
    """Takes a few frames from each camera, all at the same time, in child processes with a deadline in seconds."""
    cameras = list(cameras)
    with ThreadPoolExecutor(max_workers=max(len(cameras), 1)) as pool:
        return list(pool.map(lambda camera: _probe(camera, deadline), cameras))


def to_json(cameras: Sequence[Camera], probes: Sequence[Probe]) -> str:
    """Returns both as one JSON list."""
    return json.dumps([asdict(camera) | asdict(found) for camera, found in zip(cameras, probes, strict=True)], indent=2)


def to_lines(cameras: Sequence[Camera], probes: Sequence[Probe]) -> str:
    """Returns a line for each camera."""
    lines = []
    for camera, found in zip(cameras, probes, strict=True):
        where = f"{camera.index}  {camera.name}  {camera.path}".rstrip()
        size, rate = f"{found.width}x{found.height}", f"{found.fps:.0f} fps"
        seen = f"{found.backend}, {size}, {rate}, first frame after {found.first_frame:.2f} s"
        lines.append(f"{where}: {found.problem or seen}")
    return "\n".join(lines) or "No camera found: is it plugged in, and may you use it (on Linux: group video)?"


def _probe(camera: Camera, deadline: float) -> Probe:
    if camera.permission not in {"ok", _UNKNOWN}:
        return Probe(problem=camera.permission)
    return probe_by(python("-m", "catsdogs_edge.capture.cameras", camera.path or str(camera.index)), deadline)


def probe_by(command: list[str], deadline: float) -> Probe:
    """Runs a command that prints a probe as JSON; gives up on it after `deadline` seconds."""
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        printed, _ = child.communicate(timeout=deadline)
    except subprocess.TimeoutExpired:
        child.kill()  # and no waiting: in a driver that hangs it does not even die
        return Probe(problem=f"its driver does not answer within {deadline:.0f} s")
    if child.returncode:
        return Probe(problem=f"its driver ended the process that asked it (exit code {child.returncode})")
    return Probe(**json.loads(printed))


def _named(name: str, cameras: list[Camera]) -> str:
    """Returns the path or index of the one camera whose name or path contains `name`, whatever the case."""
    found = [camera for camera in cameras if name.casefold() in f"{camera.name}\n{camera.path}".casefold()]
    if len(found) != 1:
        names = ", ".join(f"'{camera.name}' ({camera.path or camera.index})" for camera in found or cameras) or "none"
        raise SourceError(f"{len(found)} cameras match 'cam:{name}', expected one; there is: {names}")
    return found[0].path or str(found[0].index)


def _permission(node: Path) -> str:
    if not node.exists():
        return f"{node} does not exist: was the device passed to this container?"
    if os.access(node, os.R_OK | os.W_OK):
        return "ok"
    try:
        advice = f"'sudo usermod -aG {node.group()} $USER', then log in again"
    except KeyError:  # as in a container: the number has no name there
        advice = f"run as a member of group {node.stat().st_gid} (docker run --group-add)"
    return f"{node} may not be opened: {advice}"


def _text(file: Path) -> str:
    return file.read_text(encoding="utf-8", errors="replace").strip() if file.is_file() else ""


def _measure(source: str) -> Probe:
    """Opens a camera and times its frames; runs in the child process."""
    start = time.perf_counter()
    try:
        capture = open_camera(source)
    except SourceError as error:
        return Probe(problem=str(error))
    try:
        delivered, frame = capture.read()
        if not delivered:
            return Probe(capture.getBackendName(), problem="it opens, but delivers no frame")
        first = time.perf_counter()
        count = 0
        while count < _TIMED_FRAMES and time.perf_counter() - first < 3 and capture.read()[0]:
            count += 1
        fps = count / (time.perf_counter() - first)
        return Probe(capture.getBackendName(), frame.shape[1], frame.shape[0], round(fps, 1), round(first - start, 2))
    finally:
        capture.release()


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asdict(_measure(sys.argv[1]))))
