import codecs
import errno
import io
import os
import subprocess
import sys
import time
from pathlib import Path
from random import Random
from typing import Any

import pytest

from catsdogs_edge.errors import OutputError
from catsdogs_edge.output.files import (
    atomic_file,
    atomic_files,
    check_plot,
    check_writable,
    existing_folder,
    is_filled,
    read_text,
    replace_folder,
    write_all,
)
from tests.processes import ending


def test_files_appear_together_at_the_end(tmp_path: Path) -> None:
    out = tmp_path / "new" / "out"
    with atomic_files(out) as stage:
        (stage / "a").write_text("1")
        (stage / "b").write_text("2")
        assert not list(out.glob("[!.]*"))
    assert sorted(path.name for path in out.iterdir()) == ["a", "b"]


def test_a_failure_leaves_everything_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old")
    with pytest.raises(ZeroDivisionError), atomic_files(tmp_path) as stage:
        (stage / "a").write_text("new")
        raise ZeroDivisionError
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a", "old")]


def test_a_failure_removes_the_folders_it_made(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), atomic_files(tmp_path / "x" / "y"):
        raise ZeroDivisionError
    assert not list(tmp_path.iterdir())


def test_a_place_that_cannot_be_written_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"), atomic_file(tmp_path / "file" / "x.csv"):
        pass


def test_a_link_to_nothing_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "nothing")
    with pytest.raises(OutputError, match="link cannot be written"), atomic_files(tmp_path / "link"):
        pass


def test_asking_whether_a_place_can_be_written_leaves_nothing(tmp_path: Path) -> None:
    check_writable(tmp_path / "x" / "y")
    assert not list(tmp_path.iterdir())
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        check_writable(tmp_path / "file" / "x")


def test_a_full_disk_is_one_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="No space left"), atomic_files(tmp_path):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_folder_is_exchanged_as_a_whole(tmp_path: Path) -> None:
    out = tmp_path / "new" / "out"
    for content in ("1", "2"):
        with replace_folder(out, frozenset("abc")) as stage:
            (stage / "a").write_text(content)
            if content == "1":
                (stage / "b").write_text(content)
    assert [(path.name, path.read_text()) for path in out.iterdir()] == [("a", "2")]
    assert [path.name for path in out.parent.iterdir()] == ["out"]


def test_a_failed_exchange_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old")
    with pytest.raises(ZeroDivisionError), replace_folder(tmp_path, frozenset("a")) as stage:
        (stage / "a").write_text("new")
        raise ZeroDivisionError
    assert (tmp_path / "a").read_text() == "old"
    assert not stage.exists()


def test_a_folder_with_something_else_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with (
        pytest.raises(OutputError, match=r"holds other files \(thesis.txt\)"),
        replace_folder(tmp_path, frozenset("a")),
    ):
        pass


def test_what_must_not_be_exchanged_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder" / "a").mkdir(parents=True)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for name, message in (("file", "is a file"), ("folder", "holds other files"), ("here", "is the current folder")):
        with pytest.raises(OutputError, match=message), replace_folder(tmp_path / name, frozenset("a")):
            pass
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder", "here"]


def test_what_is_put_there_meanwhile_is_not_taken_away(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(OutputError, match="holds other files"), replace_folder(out, frozenset("a")) as stage:
        (stage / "a").write_text("new")
        (out / "b").write_text("mine")
    assert [path.name for path in out.iterdir()] == ["b"]


def test_two_at_once_do_not_mix(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with replace_folder(out, frozenset("ab")) as first:
        (first / "a").write_text("1")
        with replace_folder(out, frozenset("ab")) as second:
            (second / "a").write_text("2")
        (first / "b").write_text("1")
    assert {path.name: path.read_text() for path in out.iterdir()} == {"a": "1", "b": "1"}


def test_leftovers_of_killed_processes_are_removed(tmp_path: Path) -> None:
    with ending(subprocess.Popen(["true"])) as ended:
        pass
    leftover, foreign = tmp_path / f".out.new-{ended.pid}-abcd", tmp_path / ".out.new"
    leftover.mkdir()
    foreign.mkdir()
    with replace_folder(tmp_path / "out", frozenset("a")):
        pass
    assert (leftover.exists(), foreign.exists()) == (False, True)


def test_whenever_it_is_killed_a_folder_is_old_or_new(tmp_path: Path) -> None:
    """A process exchanges two files without end and is killed twenty times; each time both must be of one kind."""
    out = tmp_path / "out"
    code = f"""
import itertools, pathlib
from catsdogs_edge.output.files import replace_folder
for number in itertools.count():
    with replace_folder(pathlib.Path({str(out)!r}), frozenset("ab")) as stage:
        for name in "ab":
            (stage / name).write_text(str(number))
    print(number, flush=True)
"""
    random = Random(0)  # noqa: S311 - no secret
    for _ in range(20):
        with ending(subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(random.uniform(0, 0.05))
            process.kill()
        first, second = ((out / name).read_text() for name in "ab")
        assert first == second


def test_a_photograph_is_no_plot_of_ours(tmp_path: Path) -> None:
    check_plot(tmp_path / "new.png")
    (tmp_path / "photo.png").write_bytes(b"\x89PNG of mine")
    with pytest.raises(OutputError, match="holds another image"):
        check_plot(tmp_path / "photo.png")
    (tmp_path / "plot.png").write_bytes(b"\x89PNG Software\0Matplotlib version 3")
    check_plot(tmp_path / "plot.png")


def test_nothing_is_written_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "real.txt").write_text("precious")
    for name, target in (("link.txt", "real.txt"), ("dangling.txt", "missing.txt")):
        (tmp_path / name).symlink_to(target)
        refused = pytest.raises(OutputError, match="is a link, and files are not written through links")
        with refused, atomic_file(tmp_path / name) as path:
            path.write_text("new")
    assert (tmp_path / "real.txt").read_text() == "precious"
    assert not (tmp_path / "missing.txt").exists()


def test_what_is_taken_in_parts_is_written_whole() -> None:
    class Slow(io.FileIO):
        taken = b""

        def write(self, data: Any) -> int:
            self.taken += bytes(data[:3])
            return len(data[:3])

    with Slow("/dev/null", "w") as file:
        write_all(file, b"0123456789")
        assert file.taken == b"0123456789"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le"])
def test_a_text_of_a_user_may_come_from_windows(encoding: str, tmp_path: Path) -> None:
    path = tmp_path / "options.toml"
    path.write_bytes((codecs.BOM_UTF16_LE if encoding == "utf-16-le" else b"") + "crop = 'Кот'\r\n".encode(encoding))
    assert read_text(path) == "crop = 'Кот'\n"
    path.write_bytes(b"caf\xe9")
    with pytest.raises(UnicodeError):
        read_text(path)


def test_a_folder_that_does_not_exist_lies_in_one_that_does(tmp_path: Path) -> None:
    assert existing_folder(tmp_path / "a" / "b") == tmp_path


def test_a_file_is_filled_or_not_or_gone(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    (tmp_path / "full").write_text("x")
    found = [name for name in ("empty", "full", "gone", ".", "n" * 300) if is_filled(tmp_path / name)]
    assert found == ["full"]


def test_a_text_without_an_end_is_too_large() -> None:
    with pytest.raises(OSError, match="File too large"):
        read_text(Path("/dev/zero"))
