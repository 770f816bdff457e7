"""Nothing runs that should not, nothing is shown that should not, and everything ends when it is told to."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from catsdogs_edge.output.terminal import printable
from tests.edge.conftest import RED, encode, plain, write_video
from tests.processes import ending

linux = pytest.mark.skipif(sys.platform != "linux", reason="uses Linux' own signals and sockets")
SECRET = "hunter2"  # noqa: S105 - of nobody


def call(*command: str | Path, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=cwd, env=os.environ | env, timeout=120
    )


@pytest.mark.parametrize(
    "command",
    [
        ["catsdogs-classify", "."],
        ["catsdogs-doctor"],
        ["catsdogs-cam", "--list"],
        ["catsdogs-cam", "image.png", "--jsonl", "-"],
        pytest.param(["catsdogs-bench", "--rounds", "1", "--count", "20"], marks=pytest.mark.slow),
    ],
)
def test_modules_in_the_current_folder_never_run(command: list[str], scripts: Path, tmp_path: Path) -> None:
    executed = tmp_path / "EXECUTED"
    for name in (
        "cv2",
        "numpy",
        "json",
        "onnxruntime",
        "msgspec",
        "simplejpeg",
        "typing",
        "catsdogs_edge",
        "sitecustomize",
    ):
        (tmp_path / f"{name}.py").write_text(f"open({str(executed)!r}, 'w')\n")
    (tmp_path / "image.png").write_bytes(encode(plain(RED)))
    call(scripts / command[0], *command[1:], cwd=tmp_path, DISPLAY=":99")
    assert not executed.exists()


@linux
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_ends_at_once(number: signal.Signals, scripts: Path, tiny: Path, tmp_path: Path) -> None:
    """Also where a decoder does not come back: here it is one that waits for ever."""
    code = (
        "import sys, time\n"
        "import catsdogs_edge.images.jpeg as jpeg\n"
        "def wait(*_):\n"
        "    print('decoding', flush=True)\n"
        "    time.sleep(1000)\n"
        "jpeg.decode_jpeg = wait\n"
        "from catsdogs_edge.cli.classify import main\n"
        "main()\n"
    )
    (tmp_path / "a.jpg").write_bytes(encode(plain(RED), ".jpg"))
    with ending(
        subprocess.Popen(
            [scripts / "python", "-c", code, tmp_path / "a.jpg", "--model", tiny], stdout=subprocess.PIPE, text=True
        )
    ) as running:
        assert running.stdout
        assert running.stdout.readline() == "decoding\n"
        running.send_signal(number)
        time.sleep(0.3)
        running.send_signal(number)
        assert running.wait(5) == 128 + number


@linux
@pytest.mark.parametrize("delay", [0.0, 0.05, 0.1, 0.2, 0.4])
def test_ctrl_c_at_the_start_shows_no_traceback(delay: float, scripts: Path, tiny: Path, tmp_path: Path) -> None:
    with ending(
        subprocess.Popen(
            [scripts / "catsdogs-classify", "-", "--model", tiny],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
    ) as running:
        time.sleep(delay)
        running.send_signal(signal.SIGINT)
        _, said = running.communicate(timeout=20)
    assert running.returncode in {1, 130, -signal.SIGINT}
    assert "catsdogs_edge/cli/process" not in said  # Python itself, which comes first, has its own traceback


@pytest.mark.parametrize(
    "arguments",
    [
        ["rtsp://user:hunter2@127.0.0.1:9/x", "rtsp://user:hunter2@127.0.0.1:9/y"],
        ["rtsp:/user:hunter2@127.0.0.1:9/x"],
        ["rtsp://user:hunter2@127.0.0.1:9/x"],
        ["-", "--raw", "rtsp://user:hunter2@127.0.0.1:9/x"],
        ["http://127.0.0.1:9/x?anything=hunter2", "--csv", "http://127.0.0.1:9/x?anything=hunter2"],
        ["concat://user:hunter2@x"],
        ["async:file:///etc/hunter2/../passwd"],
        ["env:CAMERA"],
        ["file:address"],
    ],
)
def test_passwords_are_shown_nowhere(arguments: list[str], scripts: Path, tmp_path: Path) -> None:
    (tmp_path / "address").write_text("rtsp://user:hunter2@127.0.0.1:9/x\n")
    for command in ("catsdogs-cam", "catsdogs-classify"):
        done = call(
            scripts / command, *arguments, *(["--no-window"] if command == "catsdogs-cam" else []), cwd=tmp_path,
            CAMERA="rtsp://user:hunter2@127.0.0.1:9/x",
        )  # fmt: skip
        assert done.returncode in {1, 2}
        assert SECRET not in (done.stdout + done.stderr).replace("/etc/hunter2", "")
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize("scheme", ["concat", "cache", "async", "subfile", "data"])
def test_a_scheme_that_may_open_anything_is_refused(scheme: str, scripts: Path, tmp_path: Path) -> None:
    done = call(scripts / "catsdogs-cam", f"{scheme}://x", "--no-window", cwd=tmp_path)
    assert done.returncode == 1
    assert f"found the scheme {scheme}, expected one of http" in done.stderr


def test_a_playlist_is_no_video(scripts: Path, tmp_path: Path) -> None:
    (tmp_path / "self.m3u8").write_text("#EXTM3U\n#EXTINF:10,\nself.m3u8\n")
    done = call(scripts / "catsdogs-cam", "self.m3u8", "--no-window", cwd=tmp_path)
    assert (done.returncode, "is a playlist, expected a video" in done.stderr) == (1, True)


def test_names_of_files_do_not_reach_the_terminal_raw(scripts: Path, tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "a\x1b]0;title\x07b.png").write_bytes(encode(plain(RED)))
    done = call(scripts / "catsdogs-classify", tmp_path, "--model", tiny, cwd=tmp_path)
    assert done.returncode == 0
    assert "\x1b" not in done.stdout + done.stderr
    assert "a\\x1b]0;title\\x07b.png" in done.stdout


def test_what_can_be_printed_stays() -> None:
    for text in ("", "кот 🐈, a b\n\tc", "caf\udce9.jpg"):
        assert printable(text) == text
    assert printable("a\x1b[31m\u202ebc\x7f") == "a\\x1b[31m\\u202ebc\\x7f"


def test_names_that_are_no_utf8_are_one_line(scripts: Path, tiny: Path, tmp_path: Path) -> None:
    video = tmp_path / os.fsdecode(b"caf\xe9.avi")
    write_video(tmp_path / "a:b.avi", [plain(RED, 64, 64)] * 3)
    video.write_bytes((tmp_path / "a:b.avi").read_bytes())
    model = tmp_path / os.fsdecode(b"caf\xe9.onnx")
    model.write_bytes(tiny.read_bytes())
    options: list[list[str | Path]] = [
        [video], ["a:b.avi", "--model", model], ["a:b.avi", "--record", os.fsdecode(b"\xe9.mkv")],
    ]  # fmt: skip
    for arguments in options:
        done = call(scripts / "catsdogs-cam", "--no-window", *arguments, cwd=tmp_path)
        assert done.returncode == 1
        assert "that is not UTF-8" in done.stderr
        assert len(done.stderr.splitlines()) <= 2
    done = call(scripts / "catsdogs-cam", "a:b.avi", "--no-window", "--record", "c:d.mkv", cwd=tmp_path)
    assert done.returncode == 0
    assert (tmp_path / "c:d.mkv").stat().st_size > 0


@linux
def test_systemd_hears_that_the_camera_is_watched(scripts: Path, tiny: Path, tmp_path: Path) -> None:
    write_video(tmp_path / "a.avi", [plain(RED, 64, 64)] * 3)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(20)
        done = call(
            scripts / "catsdogs-cam", "a.avi", "--model", tiny, "--jsonl", "-", cwd=tmp_path,
            NOTIFY_SOCKET=str(tmp_path / "notify"),
        )  # fmt: skip
        assert done.returncode == 0
        assert [systemd.recv(100) for _ in range(3)] == [b"READY=1", b"WATCHDOG=1", b"STOPPING=1"]


def test_rows_of_a_camera_are_added_to_those_of_before(scripts: Path, tiny: Path, tmp_path: Path) -> None:
    write_video(tmp_path / "a.avi", [plain(RED, 64, 64)] * 3)
    command: list[str | Path] = [scripts / "catsdogs-cam", "a.avi", "--model", tiny, "--no-window"]
    for count in (3, 6):  # as when systemd starts it again
        done = call(*command, "--csv", "seen.csv", "--jsonl", "seen.jsonl", "--record", "seen.mkv", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert len((tmp_path / "seen.csv").read_text().splitlines()) == count + 1
        rows = [json.loads(line) for line in (tmp_path / "seen.jsonl").read_text().splitlines()]
        assert len(rows) == count
    assert "seen.mkv is there already: the video goes to seen (2).mkv" in done.stderr
    assert (tmp_path / "seen (2).mkv").exists()
    (tmp_path / "other.csv").write_text("time,frame,mine\n")
    done = call(*command, "--csv", "other.csv", cwd=tmp_path)
    assert (done.returncode, "holds something else than such rows" in done.stderr) == (1, True)
