"""A camera on the network: FFmpeg serves a video on a port of this machine, again and again."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType

import pytest

needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs ffmpeg (on Debian: apt install ffmpeg)")


needs_vlc = pytest.mark.skipif(shutil.which("vlc") is None, reason="needs vlc (on Debian: apt install vlc-bin)")


def free_port() -> int:
    """A TCP port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for_server(port: int, process: subprocess.Popen[bytes], address: str = "0100007F") -> None:
    """Waits until somebody listens, without connecting: some serve one client only."""
    wanted = f"{address}:{port:04X} 00000000:0000 0A"
    end = time.monotonic() + 20
    while wanted not in Path("/proc/net/tcp").read_text(encoding="ascii"):
        assert process.poll() is None, "the server ended"
        assert time.monotonic() < end, "the server does not listen"
        time.sleep(0.05)


class Server:
    """A process that serves a video; use it in a `with` block."""

    def __init__(self, process: subprocess.Popen[bytes], url: str) -> None:
        self.process = process
        self.url = url

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def stop(self) -> None:
        """Ends as a power cut does."""
        self.process.kill()
        self.process.wait()


def serve_http(video: Path, port: int) -> Server:
    """MJPEG over HTTP at the video's own speed, for one client."""
    process = subprocess.Popen(
        ["ffmpeg", "-loglevel", "error", "-re", "-stream_loop", "-1", "-i", video, "-c:v", "mjpeg", "-q:v", "4",
         "-f", "mpjpeg", "-listen", "1", f"http://127.0.0.1:{port}/cam"],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    wait_for_server(port, process)
    return Server(process, f"127.0.0.1:{port}/cam")


def serve_rtsp(video: Path, port: int) -> Server:
    """RTSP, as cameras on the network speak it. VLC does not run as root, and reads what anybody may read."""
    process = subprocess.Popen(
        ["vlc", "--intf", "dummy", "--no-audio", video, "--loop", "--sout-keep",
         "--sout", f"#rtp{{sdp=rtsp://127.0.0.1:{port}/cam}}", "--rtsp-host", "127.0.0.1"],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        env={"HOME": tempfile.gettempdir(), "PATH": os.environ["PATH"]}, user="nobody" if os.geteuid() == 0 else None,
    )  # fmt: skip
    wait_for_server(port, process)
    return Server(process, f"127.0.0.1:{port}/cam")
