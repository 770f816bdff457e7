"""A camera on the network: FFmpeg serves a video on a port of this machine, again and again."""

import shutil
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType

import pytest

needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs ffmpeg (on Debian: apt install ffmpeg)")


def free_port() -> int:
    """A TCP port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Stream:
    """MJPEG over HTTP at the video's own speed, for one client; use it in a `with` block."""

    def __init__(self, video: Path, port: int) -> None:
        self.port = port
        self.process = subprocess.Popen(
            ["ffmpeg", "-loglevel", "error", "-re", "-stream_loop", "-1", "-i", video, "-c:v", "mjpeg", "-q:v", "4",
             "-f", "mpjpeg", "-listen", "1", f"http://127.0.0.1:{port}/cam"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        wanted = f"0100007F:{port:04X} 00000000:0000 0A"  # connecting to find out would use up its one client
        end = time.monotonic() + 20
        while wanted not in Path("/proc/net/tcp").read_text(encoding="ascii"):
            assert self.process.poll() is None, "ffmpeg ended"
            assert time.monotonic() < end, "ffmpeg does not listen"
            time.sleep(0.05)

    def __enter__(self) -> "Stream":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def stop(self) -> None:
        """Ends as a power cut does."""
        self.process.kill()
        self.process.wait()
