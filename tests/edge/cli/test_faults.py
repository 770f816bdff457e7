"""What goes wrong around it: signals, full disks, closed pipes, no display. Real files and processes."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import IO

import cv2
import pytest

from catsdogs_edge.images.drawings import write_folder
from catsdogs_edge.stream.frame_result import columns
from tests.edge.conftest import RED, encode, plain, write_video
from tests.edge.streams import free_port, needs_ffmpeg, serve_http
from tests.processes import ending

linux = pytest.mark.skipif(sys.platform != "linux", reason="uses Linux' own files and mounts")


def frames_of(path: Path) -> int:
    """Counts what a player would show."""
    capture = cv2.VideoCapture(str(path))
    count = 0
    while capture.read()[0]:
        count += 1
    return count


def wait_for_lines(path: Path, count: int, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not path.exists() or path.read_bytes().count(b"\n") < count:
        assert time.monotonic() < end, "no rows"
        time.sleep(0.02)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi", ".webm"])
@needs_ffmpeg
def test_a_signal_closes_the_video_and_completes_the_rows(
    number: signal.Signals,
    suffix: str,
    scripts: Path,
    no_display: dict[str, str],
    pets: Path,
    tiny: Path,
    tmp_path: Path,
) -> None:
    video, out = tmp_path / f"seen{suffix}", tmp_path / "rows.csv"
    with serve_http(pets, free_port()) as stream:
        command: list[str | Path] = [
            scripts / "catsdogs-cam", f"http://{stream.url}", "--model", tiny, "--no-window",
            "--record", video, "--csv", out,
        ]  # fmt: skip
        with ending(subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=no_display)) as cam:
            wait_for_lines(out, 15)
            cam.send_signal(number)
            assert cam.wait(20) == 128 + number
    assert frames_of(video) >= 10
    assert out.read_bytes().endswith(b"\n")
    with out.open(newline="") as stream_of_rows:
        header, *rows = csv.reader(stream_of_rows)
    assert len(rows) >= 14
    assert header == columns(("cat", "dog"))
    assert {len(row) for row in rows} == {18} == {len(header)}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_in_a_folder_leaves_complete_rows_and_resume_goes_on(
    number: signal.Signals, scripts: Path, tiny: Path, tmp_path: Path
) -> None:
    write_folder(tmp_path / "images", per_class=30)
    paths = sorted(map(str, (tmp_path / "images").rglob("*.png")))
    out = tmp_path / "rows.jsonl"
    start: list[str | Path] = [scripts / "catsdogs-classify", "-", "--model", tiny, "--jsonl", out]
    with ending(subprocess.Popen(start, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True)) as classify:
        assert classify.stdin
        assert classify.stderr
        classify.stdin.write("\n".join(paths[:40]) + "\n")  # and no end: it waits for more
        classify.stdin.flush()
        wait_for_lines(out, 16)
        classify.send_signal(number)
        code = classify.wait(20)
        said = classify.stderr.read()
    before = len([json.loads(line) for line in out.read_text().splitlines()])
    assert 16 <= before <= 40
    assert code == 128 + number
    if number is signal.SIGINT:
        assert said.startswith(f"Interrupted: {before} images")
        assert "--resume goes on" in said
    again = subprocess.run(
        [scripts / "catsdogs-classify", *paths, "--model", tiny, "--jsonl", out, "--resume"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert again.returncode == 0
    assert again.stderr.startswith(f"{before} were there before; {60 - before} images")
    assert sorted(json.loads(line)["path"] for line in out.read_text().splitlines()) == paths


@linux
def test_a_signal_ends_it_while_nobody_reads_its_rows(scripts: Path, tiny: Path, tmp_path: Path) -> None:
    import fcntl  # noqa: PLC0415 - not on Windows
    import termios  # noqa: PLC0415 - likewise

    write_folder(tmp_path, per_class=30)
    read_end, write_end = os.pipe()
    fcntl.fcntl(write_end, fcntl.F_SETPIPE_SZ, 4096)
    command: list[str | Path] = [scripts / "catsdogs-classify", tmp_path, "--model", tiny, "--jsonl", "-"]
    with ending(subprocess.Popen(command, stdout=write_end, stderr=subprocess.PIPE)) as classify:
        waiting = bytearray(4)
        deadline = time.monotonic() + 20
        while int.from_bytes(waiting, sys.byteorder) < 3800 and time.monotonic() < deadline:  # then it is full
            fcntl.ioctl(read_end, termios.FIONREAD, waiting)
            time.sleep(0.05)
        classify.send_signal(signal.SIGTERM)
        assert classify.wait(10) == 143
    os.close(read_end)
    os.close(write_end)


@pytest.mark.slow
def test_kill_9_in_a_folder_loses_and_repeats_nothing(scripts: Path, tiny: Path, tmp_path: Path) -> None:
    write_folder(tmp_path / "images", per_class=200)
    out = tmp_path / "rows.csv"
    command: list[str | Path] = [scripts / "catsdogs-classify", tmp_path / "images", "--model", tiny]
    command += ["--csv", out, "--resume"]
    for lines in (30, 150):
        with ending(subprocess.Popen(command, stderr=subprocess.DEVNULL)) as classify:
            wait_for_lines(out, lines)
            classify.kill()
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0
    with out.open(newline="") as stream:
        paths = [row["path"] for row in csv.DictReader(stream)]
    assert len(paths) == len(set(paths)) == 400


@linux
def test_a_full_disk_is_one_line_and_the_rows_before_are_whole(
    small_disk: Path, scripts: Path, tiny: Path, tmp_path: Path
) -> None:
    (tmp_path / "x.png").write_bytes(encode(plain(RED)))
    names = tmp_path / "names"
    names.write_text(f"{tmp_path / 'x.png'}\n" * 20_000)
    out = small_disk / "rows.csv"
    done = subprocess.run(
        [scripts / "catsdogs-classify", f"@{names}", "--model", tiny, "--csv", out],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr == f"catsdogs-classify: {out} cannot be written: No space left on device\n"
    with out.open(newline="") as stream:
        rows = list(csv.reader(stream))
    assert len(rows) > 5000
    assert all(len(row) == 7 for row in rows)
    assert out.read_bytes().endswith(b"\n")


@linux
@pytest.mark.parametrize("option", ["--copy", "--move"])
def test_a_full_disk_while_sorting_loses_no_image(
    option: str, small_disk: Path, scripts: Path, tiny: Path, tmp_path: Path
) -> None:
    write_folder(tmp_path / "images", per_class=30)
    originals = {path: path.read_bytes() for path in (tmp_path / "images").rglob("*.png")}
    assert sum(map(len, originals.values())) > 2**20
    done = subprocess.run(
        [scripts / "catsdogs-classify", tmp_path / "images", "--model", tiny, option, small_disk / "sorted"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].endswith("cannot be written: No space left on device")
    sorted_now = [path.read_bytes() for path in (small_disk / "sorted").rglob("*") if path.is_file()]
    assert sorted_now
    assert set(sorted_now) <= set(originals.values())  # nothing half-written
    left = [data for path, data in originals.items() if path.exists()]
    assert set(left) | set(sorted_now) == set(originals.values())
    if option == "--copy":
        assert len(left) == len(originals)


@linux
def test_a_full_disk_ends_a_video_that_can_be_played(
    small_disk: Path, scripts: Path, no_display: dict[str, str], video: Path, tiny: Path
) -> None:
    done = subprocess.run(
        [scripts / "catsdogs-cam", video, "--model", tiny, "--no-window", "--record", small_disk / "seen.mkv"],
        capture_output=True, text=True, check=False, env=no_display,
    )  # fmt: skip
    assert done.returncode == 1
    assert "the disk is nearly full; the video ends here" in done.stderr.splitlines()[-1]
    assert frames_of(small_disk / "seen.mkv") >= 1


@linux
@pytest.mark.parametrize("option", ["--csv", "--jsonl", "--record", "--save"])
def test_a_read_only_folder_is_one_line(
    option: str, scripts: Path, no_display: dict[str, str], video: Path, tiny: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "closed"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", folder], capture_output=True, check=False)
    if mounted.returncode:
        folder.chmod(0o500)
    try:
        done = subprocess.run(
            [scripts / "catsdogs-cam", video, "--model", tiny, "--no-window", option, folder / "new.mkv"],
            capture_output=True, text=True, check=False, env=no_display,
        )  # fmt: skip
    finally:
        if not mounted.returncode:
            subprocess.run(["umount", "--lazy", folder], check=True)
    assert done.returncode == 1
    assert "cannot be written: " in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", [["catsdogs-classify", "{images}", "--csv", "-"],
                                     ["catsdogs-classify", "{images}"],
                                     ["catsdogs-cam", "{images}", "--no-window"]])  # fmt: skip
def test_a_reader_that_goes_away_ends_it_quietly(
    command: list[str], scripts: Path, no_display: dict[str, str], tiny: Path, tmp_path: Path
) -> None:
    """As in `catsdogs-classify ... | head -1`."""
    write_folder(tmp_path / "images", per_class=100)
    words = [word.format(images=tmp_path / "images") for word in command]
    with ending(subprocess.Popen(
        [scripts / words[0], *words[1:], "--model", tiny],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=no_display,
    )) as writer:  # fmt: skip
        assert writer.stdout
        assert writer.stderr
        assert writer.stdout.readline()
        writer.stdout.close()
        said = writer.stderr.read()
        assert writer.wait(20) == 1
    assert "Traceback" not in said
    assert "Error" not in said


@pytest.mark.slow
@linux
def test_20000_frames_do_not_need_more_memory_than_2000(
    scripts: Path, no_display: dict[str, str], tiny: Path, tmp_path: Path
) -> None:
    frame = plain(RED, 48, 64).tobytes()
    out = tmp_path / "rows.jsonl"
    command: list[str | Path] = [scripts / "catsdogs-cam", "-", "--raw", "64x48", "--model", tiny, "--no-window"]
    command += ["--jsonl", out]

    def resident() -> int:
        status = Path(f"/proc/{cam.pid}/status").read_text(encoding="ascii")
        return int(status.split("VmRSS:")[1].split()[0])

    def feed(stream: IO[bytes], count: int, total: int) -> int:
        for _ in range(count):
            stream.write(frame)
        stream.flush()
        wait_for_lines(out, total - 10, 120)  # the pipe holds a few
        return resident()

    with ending(subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, env=no_display)) as cam:
        assert cam.stdin
        early = feed(cam.stdin, 2000, 2000)
        late = feed(cam.stdin, 18_000, 20_000)
        cam.stdin.close()
        assert cam.wait(60) == 0
    assert out.read_bytes().count(b"\n") == 20_000
    assert late - early < 4096, f"{early} kB after 2000 frames, {late} kB after 20000"


def test_raw_frames_that_end_in_the_middle_are_one_line(scripts: Path, no_display: dict[str, str], tiny: Path) -> None:
    frame = plain(RED, 48, 64).tobytes()
    done = subprocess.run(
        [scripts / "catsdogs-cam", "-", "--raw", "64x48", "--model", tiny, "--no-window"],
        input=frame * 3 + frame[:100], capture_output=True, check=False, env=no_display,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stdout.count(b"\n") == 3
    assert b"ends after 3 frames and 100 bytes, a frame of --raw 64x48 has 9216" in done.stderr.splitlines()[-1]


def test_long_videos_lose_no_frame(scripts: Path, no_display: dict[str, str], tiny: Path, tmp_path: Path) -> None:
    video = write_video(tmp_path / "long.avi", (plain((200, number % 200, 30), 48, 64) for number in range(500)))
    done = subprocess.run(
        [scripts / "catsdogs-cam", video, "--model", tiny, "--no-window", "--record", tmp_path / "seen.avi"],
        capture_output=True, text=True, check=False, env=no_display,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert frames_of(tmp_path / "seen.avi") == 500


def test_a_background_job_ends_by_sigterm(
    scripts: Path, no_display: dict[str, str], tiny: Path, tmp_path: Path
) -> None:
    """A shell's background job ignores Ctrl-C; systemd sends SIGTERM."""
    out = tmp_path / "rows.jsonl"
    cam_command: list[str | Path] = [
        scripts / "catsdogs-cam",
        "-",
        "--raw",
        "64x48",
        "--model",
        tiny,
        "--no-window",
        "--jsonl",
        out,
    ]
    command: list[str | Path] = ["sh", "-c", "trap '' INT; exec \"$@\"", "sh", *cam_command]
    with ending(subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, env=no_display)) as cam:
        assert cam.stdin
        cam.stdin.write(plain(RED, 48, 64).tobytes() * 3)
        cam.stdin.flush()
        wait_for_lines(out, 2)
        cam.send_signal(signal.SIGINT)
        cam.terminate()
        assert cam.wait(20) == 143


@linux
def test_a_limit_on_files_ends_a_recording(
    scripts: Path, tiny: Path, pets: Path, no_display: dict[str, str], tmp_path: Path
) -> None:
    """As FAT32, or a quota: nothing says that the frames do not arrive."""
    video = tmp_path / "seen.mkv"
    limited = (
        f"trap '' XFSZ; ulimit -f 40; exec {scripts}/catsdogs-cam {pets} --model {tiny} --no-window --record {video}"
    )
    done = subprocess.run(["bash", "-c", limited], capture_output=True, text=True, check=False, env=no_display)
    assert done.returncode == 1
    assert "does not hold the 30 frames that were written: is there a quota" in done.stderr


@linux
def test_a_user_without_a_name_and_a_home_can_classify(scripts: Path, album: Path, tiny: Path) -> None:
    """As in a container that is started with `--user 54321`."""
    inside = ["unshare", "--user", "--map-user=54321"]
    if subprocess.run([*inside, "true"], capture_output=True, check=False).returncode:
        pytest.skip("may not take another user here")
    environment = {name: value for name, value in os.environ.items() if name not in {"HOME", "USER", "LOGNAME"}}
    for command in ([scripts / "catsdogs-classify", album], [scripts / "catsdogs-cam", album / "a cat.png"]):
        done = subprocess.run(
            [*inside, *command, "--model", tiny], env=environment, capture_output=True, text=True, check=False
        )
        assert "Traceback" not in done.stderr
        assert done.stdout.count("cat") > 0


def test_a_limit_on_threads_is_one_line(album: Path, tiny: Path) -> None:
    code = """
import sys, threading
from catsdogs_edge.cli.classify import main
def start(thread):
    raise RuntimeError("can't start new thread")  # as Python says it under `ulimit -u`
threading.Thread.start = start
sys.argv[0] = "catsdogs-classify"
main()
"""
    command: list[str | Path] = [sys.executable, "-c", code, album, "--model", tiny]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "catsdogs-classify: the system starts no more threads: raise the limit (ulimit -u), or give --threads 1"
    )
    assert "Traceback" not in done.stderr
