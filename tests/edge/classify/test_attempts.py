import contextlib
import csv
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from catsdogs_edge.classify.attempts import KILLED_TWICE, Attempts
from catsdogs_edge.errors import ImageError, OutputError
from catsdogs_edge.images.drawings import write_folder

KILLED_BY_AN_IMAGE = """
import os, signal, sys
from catsdogs_edge.classify import job
from catsdogs_edge.cli.classify import main
load_bytes = job.load_bytes
def load(data, size):
    if data.endswith(b"bomb"):
        os.kill(os.getpid(), signal.SIGKILL)
    return load_bytes(data, size)
job.load_bytes = load
sys.argv[0] = "catsdogs-classify"
main()
"""


def names(rows: Path) -> set[str]:
    return {path.name for path in rows.parent.iterdir()}


def test_an_image_that_kills_does_so_twice_and_the_rest_goes_on(tiny: Path, tmp_path: Path) -> None:
    write_folder(tmp_path / "in", per_class=10)
    bomb = tmp_path / "in" / "cat" / "2.png"
    bomb.write_bytes(bomb.read_bytes() + b"bomb")
    out = tmp_path / "out" / "rows.csv"
    command: list[str | Path] = [sys.executable, "-c", KILLED_BY_AN_IMAGE, tmp_path / "in", "--model", tiny]
    command += ["--csv", out, "--resume"]
    codes = [subprocess.run(command, capture_output=True, check=False).returncode for _ in range(4)]
    assert codes == [-9, -9, 3, 0]
    with out.open(newline="") as stream:
        errors = {row["path"]: row["error"] for row in csv.DictReader(stream)}
    assert len(errors) == 20
    assert {path: error for path, error in errors.items() if error} == {str(bomb): KILLED_TWICE}
    assert names(out) == {"rows.csv"}


def test_what_was_read_with_it_is_read_again_alone(tmp_path: Path) -> None:
    rows = tmp_path / "rows.csv"
    first = Attempts(rows, resume=True)
    with contextlib.ExitStack() as stack:
        for name in "abc":
            stack.enter_context(first.reading(name))
        with first.reading("d"):
            pass
        left = (tmp_path / ".rows.csv.reading").read_bytes()
    first.close()
    assert names(rows) == set()
    (tmp_path / ".rows.csv.reading").write_bytes(left)

    second = Attempts(rows, resume=True)
    at_once, most = 0, {"a": 0, "x": 0}
    lock, met = threading.Lock(), threading.Barrier(2)

    def read(name: str) -> None:
        nonlocal at_once
        with second.reading(name):
            with lock:
                at_once += 1
                most["a" if name in "abc" else "x"] = max(most["a" if name in "abc" else "x"], at_once)
            if name in "xy":
                met.wait(10)  # these two are read at once
            with lock:
                at_once -= 1

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(read, "axbyc"))
    assert most == {"a": 1, "x": 2}
    second.close()


def test_only_the_image_that_was_read_alone_is_at_fault(tmp_path: Path) -> None:
    rows = tmp_path / "rows.csv"
    for killed_over in ("ab", "b"):
        attempts = Attempts(rows, resume=True)
        with contextlib.ExitStack() as stack:
            for name in killed_over:
                stack.enter_context(attempts.reading(name))
            left = (tmp_path / ".rows.csv.reading").read_bytes()
        attempts.close()
        (tmp_path / ".rows.csv.reading").write_bytes(left)
    attempts = Attempts(rows, resume=True)
    with attempts.reading("a"):
        pass
    with pytest.raises(ImageError, match="killed twice"), attempts.reading("b"):
        pass
    attempts.close()
    (tmp_path / ".rows.csv.reading").write_bytes(left)
    attempts = Attempts(rows, resume=False)  # a new start knows of nothing
    with attempts.reading("b"):
        pass
    attempts.close()


def test_a_pipe_in_its_place_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / ".rows.csv.reading")
    with pytest.raises(OutputError, match="is no regular file: remove it"):
        Attempts(tmp_path / "rows.csv", resume=False)


@pytest.mark.parametrize("content", ["text of somebody\n" * 900, "link"])
def test_a_file_of_others_stays(content: str, tmp_path: Path) -> None:
    path = tmp_path / ".rows.csv.reading"
    if content == "link":
        (tmp_path / "target").write_text(content)
        path.symlink_to(tmp_path / "target")
    else:
        path.write_text(content)
    with pytest.raises(OutputError):
        Attempts(tmp_path / "rows.csv", resume=True)
    assert path.read_text() == content


def test_what_came_under_its_name_meanwhile_stays(tmp_path: Path) -> None:
    attempts = Attempts(tmp_path / "rows.csv", resume=False)
    (tmp_path / ".rows.csv.reading").unlink()
    (tmp_path / ".rows.csv.reading").write_text("of somebody")
    attempts.close()
    assert (tmp_path / ".rows.csv.reading").read_text() == "of somebody"


def test_what_a_power_cut_left_is_passed_over(tmp_path: Path) -> None:
    rows = tmp_path / "rows.csv"
    attempts = Attempts(rows, resume=False)
    with attempts.reading(str(tmp_path)):
        left = (tmp_path / ".rows.csv.reading").read_bytes()
    attempts.close()
    for content in (left[:-3], left[:9000], left[:8000], left + b"\xff" * 9000, left.replace(b"1 /", b"\0\0\0")):
        if content.startswith(left[:40]):
            (tmp_path / ".rows.csv.reading").write_bytes(content)
            attempts = Attempts(rows, resume=True)
            with attempts.reading("a"):
                pass
            attempts.close()
