import csv
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from catsdogs_edge.errors import DataError
from tests.edge.conftest import BLUE, RED, encode, plain

pytest.importorskip("watchdog", reason="the extra 'watch' is not installed")

from catsdogs_edge.classify.watch import SETTLED, UNCLOSED, FolderWatch
from tests.processes import ending

CAT, DOG = encode(plain(RED)), encode(plain(BLUE))


class Found:
    """What a watch finds, while it runs in a thread."""

    def __init__(self, watch: FolderWatch) -> None:
        self.paths: list[Path] = []
        self.moments: dict[Path, float] = {}
        self._watch = watch
        self._ended = False
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        for some in self._watch:
            self.paths += some
            self.moments |= dict.fromkeys(some, time.monotonic())
            if self._ended:
                return

    def wait(self, count: int, seconds: float = 10) -> list[Path]:
        end = time.monotonic() + seconds
        while len(self.paths) < count and time.monotonic() < end:
            time.sleep(0.02)
        return self.paths

    def end(self) -> None:
        self._ended = True
        self._watch.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "uploads"
    path.mkdir()
    return path


@pytest.fixture
def found(folder: Path) -> Iterator[Found]:
    running = Found(FolderWatch([folder], folder / "sorted"))
    time.sleep(0.3)
    yield running
    running.end()


def old(path: Path, data: bytes = CAT) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    os.utime(path, (time.time() - 60,) * 2)
    return path


def test_what_is_there_comes_first_and_then_what_is_put_there(folder: Path) -> None:
    first = old(folder / "a.png")
    running = Found(FolderWatch([folder]))
    assert running.wait(1) == [first]
    begun = time.monotonic()
    (folder / "b.png").write_bytes(DOG)
    assert running.wait(2) == [first, folder / "b.png"]
    assert running.moments[folder / "b.png"] - begun < SETTLED + 1.5
    running.end()


def test_a_file_that_is_still_written_is_not_finished(folder: Path, found: Found) -> None:
    with (folder / "slow.png").open("wb") as stream:
        for start in range(0, len(CAT), len(CAT) // 5):
            stream.write(CAT[start : start + len(CAT) // 5])
            stream.flush()
            time.sleep(0.6)
        assert found.paths == []
    assert found.wait(1) == [folder / "slow.png"]


def test_renamed_files_and_new_folders_are_found(folder: Path, found: Found, tmp_path: Path) -> None:
    (folder / ".upload.png.part").write_bytes(CAT)
    (folder / ".upload.png.part").rename(folder / "upload.png")
    assert found.wait(1) == [folder / "upload.png"]
    (folder / "day" / "hour").mkdir(parents=True)
    time.sleep(0.3)
    (folder / "day" / "hour" / "x.jpg").write_bytes(CAT)
    assert found.wait(2)[1:] == [folder / "day" / "hour" / "x.jpg"]
    old(tmp_path / "camera" / "y.jpg")
    shutil.move(tmp_path / "camera", folder / "camera")
    assert found.wait(3)[2:] == [folder / "camera" / "y.jpg"]


def test_a_new_file_that_is_moved_here_from_elsewhere_is_found_at_once(
    folder: Path, found: Found, tmp_path: Path
) -> None:
    (tmp_path / "made.png").write_bytes(CAT)
    begun = time.monotonic()
    (tmp_path / "made.png").rename(folder / "made.png")
    assert found.wait(1) == [folder / "made.png"]
    assert found.moments[folder / "made.png"] - begun < UNCLOSED / 2


def test_what_a_search_leaves_out_is_left_out(folder: Path, found: Found) -> None:
    for name in (".hidden.png", "notes.txt", ".git/x.png", "@eaDir/x.png", "sorted/cat/x.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(CAT)
    (folder / "seen.png").write_bytes(CAT)
    found.wait(2, 2)
    assert found.paths == [folder / "seen.png"]


def test_a_file_that_is_written_anew_is_found_again(folder: Path, found: Found) -> None:
    for count, data in enumerate((CAT, DOG), 1):
        (folder / "latest.png").write_bytes(data + b"\0" * count)
        assert len(found.wait(count)) == count
    time.sleep(1)
    assert found.paths == [folder / "latest.png"] * 2


def test_what_is_no_folder_is_an_error(folder: Path) -> None:
    with pytest.raises(DataError, match="is no folder: --watch waits for images in folders"):
        FolderWatch([folder / "no"])


def test_uploads_are_sorted_as_they_come_and_ctrl_c_ends_with_the_sum(
    scripts: Path, tiny: Path, folder: Path, tmp_path: Path
) -> None:
    old(folder / "before.png")
    out = tmp_path / "rows.csv"
    command: list[str | Path] = [scripts / "catsdogs-classify", folder, "--watch", "--model", tiny, "--csv", out]
    command += ["--move", folder / "sorted"]
    with ending(subprocess.Popen(command, stderr=subprocess.PIPE, text=True)) as process:
        wait_for_rows(out, 1)
        (folder / "cat.png").write_bytes(CAT)
        (folder / "dog.png").write_bytes(DOG)
        (folder / "torn.png").write_bytes(CAT[:50])
        wait_for_rows(out, 4)
        end = time.monotonic() + 20
        while (folder / "dog.png").exists() and time.monotonic() < end:  # an original goes after its row
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "Waiting for images" in said
    assert "4 images: 2 cat, 1 dog, 1 could not be classified" in said
    left = {str(path.relative_to(folder)) for path in folder.rglob("*.png")}
    assert left == {"sorted/cat/before.png", "sorted/cat/cat.png", "sorted/dog/dog.png", "torn.png"}


def test_after_a_restart_a_name_that_is_used_again_is_classified_again(
    scripts: Path, tiny: Path, folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "rows.csv"
    command: list[str | Path] = [scripts / "catsdogs-classify", folder, "--watch", "--model", tiny, "--csv", out]
    for count, data in enumerate((CAT, DOG), 1):
        (folder / "snapshot.png").write_bytes(data)
        with ending(subprocess.Popen([*command, "--resume"], stderr=subprocess.PIPE)) as process:
            wait_for_rows(out, count)
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=20)
    with out.open(newline="") as stream:
        assert [row["label"] for row in csv.DictReader(stream)] == ["cat", "dog"]


def wait_for_rows(path: Path, count: int) -> None:
    end = time.monotonic() + 20
    while time.monotonic() < end:
        if path.exists():
            with path.open(newline="") as stream:
                if len(list(csv.DictReader(stream))) >= count:
                    return
        time.sleep(0.05)
    raise AssertionError(path.read_text() if path.exists() else "no rows")


@pytest.mark.parametrize("source", ["misspelt", "empty"])
def test_rows_of_before_stay_until_an_image_is_found(source: str, scripts: Path, tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "a.png").write_bytes(CAT)
    out = tmp_path / "rows.csv"
    command: list[str | Path] = [scripts / "catsdogs-classify", "--model", tiny, "--csv", out]
    subprocess.run([*command, tmp_path / "a.png"], check=True)
    before = out.read_bytes()
    with ending(
        subprocess.Popen([*command, tmp_path / source, "--watch"], stderr=subprocess.PIPE, text=True)
    ) as process:
        if source == "empty":
            assert process.stderr
            while "Waiting" not in process.stderr.readline():
                pass
            time.sleep(1)
            process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)
    assert out.read_bytes() == before


def test_a_folder_that_was_away_for_a_moment_is_not_found_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("catsdogs_edge.classify.watch._LOOK", 0.1)
    old(folder / "a.png")
    running = Found(FolderWatch([folder]))
    running.wait(1)
    folder.rename(folder.with_name("away"))
    time.sleep(0.5)
    folder.with_name("away").rename(folder)
    time.sleep(0.5)
    assert running.paths == [folder / "a.png"]
    running.end()


def test_a_name_that_comes_again_while_the_command_runs_is_classified_though_it_is_old(
    scripts: Path, tiny: Path, folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "rows.csv"
    command: list[str | Path] = [scripts / "catsdogs-classify", folder, "--model", tiny, "--csv", out]
    command += ["--move", tmp_path / "sorted"]
    old(folder / "x.png", CAT)
    subprocess.run(command, check=True)
    with ending(subprocess.Popen([*command, "--watch", "--resume"], stderr=subprocess.PIPE, text=True)) as process:
        assert process.stderr
        while "Waiting" not in process.stderr.readline():
            pass
        time.sleep(1)
        old(tmp_path / "new" / "x.png", DOG).rename(folder / "x.png")
        wait_for_rows(out, 2)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)
    assert (tmp_path / "sorted" / "dog" / "x.png").exists()
