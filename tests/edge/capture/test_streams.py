"""A stream on the network that stops and comes back: FFmpeg serves it on this machine."""

import json
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest

from tests.edge.streams import free_port, needs_ffmpeg, needs_vlc, serve_http, serve_rtsp
from tests.processes import ending

pytestmark = [needs_ffmpeg, pytest.mark.slow]


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def wait_for(path: Path, state: str, after: int, seconds: float = 30.0) -> list[dict[str, Any]]:
    """Waits for a row of that state behind the first `after` rows."""
    end = time.monotonic() + seconds
    while not any(row["state"] == state for row in rows(path)[after:]):
        assert time.monotonic() < end, [row["state"] for row in rows(path)]
        time.sleep(0.1)
    return rows(path)


def test_a_stream_that_stops_and_comes_back(
    scripts: Path, no_display: dict[str, str], pets: Path, tiny: Path, tmp_path: Path
) -> None:
    out, port = tmp_path / "rows.jsonl", free_port()
    stream = serve_http(pets, port)
    url = f"http://bob:s3cret@127.0.0.1:{port}/cam?token=t0ken"
    command: list[str | Path] = [scripts / "catsdogs-cam", url, "--model", tiny, "--no-window", "--jsonl", out]
    with ending(subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=no_display)) as cam:
        try:
            wait_for(out, "live", 0)
            stream.process.send_signal(signal.SIGSTOP)  # the network stalls
            count = len(wait_for(out, "stale", 0))
            stream.stop()
            count = len(wait_for(out, "lost", count - 1))
            with serve_http(pets, port):
                seen = wait_for(out, "live", count)
                cam.send_signal(signal.SIGINT)
                assert cam.wait(20) == 130
        finally:
            cam.kill()
            stream.stop()
        assert cam.stderr
        said = cam.stderr.read()
    states = [row["state"] for row in seen]
    assert [state for number, state in enumerate(states) if not number or states[number - 1] != state][:3] == [
        "live", "stale", "lost"
    ]  # fmt: skip
    assert "reconnecting" in states
    assert all((row["label"] is None) == (row["state"] != "live") for row in seen)
    assert all(row["age_ms"] < 1000 for row in seen if row["label"])
    numbers = [row["frame"] for row in seen]
    assert numbers == sorted(numbers)
    text = said + out.read_text()
    assert "s3cret" not in text
    assert "t0ken" not in text
    assert f"http://***@127.0.0.1:{port}/cam?token=***" in text


def test_a_few_frames_of_a_stream_recorded(
    scripts: Path, no_display: dict[str, str], pets: Path, tiny: Path, tmp_path: Path
) -> None:
    out = tmp_path / "rows.jsonl"
    with serve_http(pets, free_port()) as stream:
        done = subprocess.run(
            [scripts / "catsdogs-cam", f"http://{stream.url}", "--model", tiny, "--no-window",
             "--jsonl", out, "--frames", "5", "--record", tmp_path / "seen.mkv"],
            capture_output=True, text=True, check=False, timeout=60, env=no_display,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    seen = rows(out)
    assert len(seen) == 5
    assert seen[-1]["frame"] == 4 + sum(row["dropped"] for row in seen)
    assert (tmp_path / "seen.mkv").stat().st_size > 1000


@needs_vlc
def test_a_camera_that_speaks_rtsp_stops_and_comes_back(
    scripts: Path, no_display: dict[str, str], pets: Path, tiny: Path, tmp_path: Path
) -> None:
    out, port = tmp_path / "rows.jsonl", free_port()
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        video = Path(folder) / "pets.mp4"
        subprocess.run(["ffmpeg", "-loglevel", "error", "-i", pets, "-c:v", "mpeg4", "-q:v", "4", video], check=True)
        stream = serve_rtsp(video, port)
        command: list[str | Path] = [scripts / "catsdogs-cam", f"rtsp://bob:s3cret@{stream.url}", "--model", tiny]
        command += ["--no-window", "--jsonl", out]
        with ending(subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=no_display)) as cam:
            try:
                wait_for(out, "live", 0)
                stream.stop()
                count = len(wait_for(out, "lost", 0))
                with serve_rtsp(video, port):
                    wait_for(out, "live", count, 60)
                    cam.send_signal(signal.SIGTERM)
                    assert cam.wait(20) == 143
            finally:
                cam.kill()
                stream.stop()
            assert cam.stderr
            assert "s3cret" not in cam.stderr.read() + out.read_text()


@pytest.mark.parametrize("options", [["--on", "bird:1s", "true"], ["--record", "x.txt"]])
def test_what_is_wrong_behind_a_stream_is_one_line(
    options: list[str], scripts: Path, no_display: dict[str, str], pets: Path, tiny: Path
) -> None:
    """FFmpeg aborts the process if a thread still reads when Python ends."""
    with serve_http(pets, free_port()) as stream:
        done = subprocess.run(
            [scripts / "catsdogs-cam", f"http://{stream.url}", "--model", tiny, "--no-window", *options],
            capture_output=True, text=True, check=False, timeout=60, env=no_display,
        )  # fmt: skip
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 2  # the source, and the reason


@pytest.mark.parametrize("scheme", ["http", "rtsp"])
def test_a_stream_that_is_not_there_is_one_line(
    scheme: str, scripts: Path, no_display: dict[str, str], tiny: Path
) -> None:
    url = f"{scheme}://bob:s3cret@127.0.0.1:{free_port()}/cam?password=pa55"
    done = subprocess.run(
        [scripts / "catsdogs-cam", url, "--model", tiny, "--no-window"],
        capture_output=True, text=True, check=False, timeout=60, env=no_display,
    )  # fmt: skip
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert f"{scheme}://***@127.0.0.1" in line
    assert "s3cret" not in line
    assert "pa55" not in line
