import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from catsdogs_edge.errors import OutputError
from catsdogs_edge.output.quota import Limit, Quota, timed_name, unfinished, write_whole


def keep(folder: Path, name: str, size: int, age: float = 0.0) -> Path:
    path = folder / name
    path.write_bytes(b"x" * size)
    os.utime(path, (time.time() - age,) * 2)
    return path


@pytest.mark.parametrize(
    ("text", "limit"),
    [("5MB", Limit(bytes=5_000_000)), ("1.5 gb", Limit(bytes=1_500_000_000)), ("14d", Limit(days=14))],
)
def test_sizes_and_days(text: str, limit: Limit) -> None:
    assert Limit.parse(text) == limit


@pytest.mark.parametrize("text", ["", "5", "MB", "-5MB", "5KB", "0d", "4MB", "5MBx"])
def test_what_is_no_quota_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="quota"):
        Limit.parse(text)


def test_names_begin_with_the_time_and_hold_no_odd_signs() -> None:
    assert timed_name(0.0, "rtsp://***@h/x", "", "cat")[15:] == "-rtsp_h_x-cat"
    assert len(timed_name(0.0, "x" * 300)) < 120
    assert timed_name(0.0, "../..")[15:] == "-x"


def test_the_oldest_go_first_and_nothing_that_is_not_ours(tmp_path: Path) -> None:
    for number in range(9):
        keep(tmp_path, f"2026010{number}-000000-cat.webm", 1_000_000, age=100 - number)
    mine = keep(tmp_path, "holiday.webm", 9_000_000, age=1000)
    quota = Quota(tmp_path, Limit(bytes=6_000_000))
    quota.make_room(1_000_000)
    assert sorted(path.name for path in tmp_path.glob("2026*")) == [f"2026010{n}-000000-cat.webm" for n in range(4, 9)]
    assert mine.exists()
    quota.make_room(1_000_000)
    assert len(list(tmp_path.glob("2026*"))) == 5


def test_what_is_too_old_goes_at_the_start_too(tmp_path: Path) -> None:
    old = keep(tmp_path, "20260101-000000-cat.webm", 9, age=3 * 86_400)
    Quota(tmp_path, Limit(days=2))
    assert not old.exists()


def test_days(tmp_path: Path) -> None:
    old = keep(tmp_path, "20260101-000000-cat.webm", 9, age=3 * 86_400)
    new = keep(tmp_path, "20260103-000000-cat.webm", 9, age=1 * 86_400)
    Quota(tmp_path, Limit(days=2)).make_room()
    assert not old.exists()
    assert new.exists()


def test_without_a_limit_all_stays(tmp_path: Path) -> None:
    old = keep(tmp_path, "20260101-000000-cat.webm", 9, age=10**8)
    Quota(tmp_path, None).make_room()
    assert old.exists()


def test_what_is_being_written_stays_and_one_that_is_too_large_is_an_error(tmp_path: Path) -> None:
    quota = Quota(tmp_path, Limit(bytes=5_000_000))
    path = keep(tmp_path, "20260101-000000-record.mkv", 6_000_000)
    with pytest.raises(OutputError, match="5 MB, is too small for a single recording"):
        quota.make_room(keep=path)
    assert path.exists()


def test_what_a_killed_process_left_is_removed_and_what_a_running_one_writes_is_not(tmp_path: Path) -> None:
    process = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    name = "20260101-000000-cat.webm"
    left = keep(tmp_path, f".catsdogs-{int(process.stdout)}-{name}", 9)
    of_before = keep(tmp_path, unfinished(Path(name)).name, 9)  # a container gives each run the same number
    running = keep(tmp_path, f".catsdogs-{os.getppid()}-{name}", 9)
    Quota(tmp_path, Limit(days=1)).make_room()
    assert not left.exists()
    assert not of_before.exists()
    assert running.exists()


def test_what_could_not_be_written_whole_is_removed(small_disk: Path) -> None:
    with pytest.raises(OSError, match="No space"):
        write_whole(small_disk / "image.jpg", bytes(2_000_000))
    assert not list(small_disk.iterdir())


def test_of_long_words_the_last_ones_are_in_a_name() -> None:
    name = timed_name(0, "/a/folder" * 40, "flap", "猫" * 20)
    assert name.endswith("flap-" + "猫" * 20)
    assert len(name.encode()) < 120
