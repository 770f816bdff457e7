import errno
import os
from pathlib import Path

import pytest

from catsdogs_edge.errors import OutputError
from catsdogs_edge.files import check_writable, staged, staged_file


def test_files_appear_together_at_the_end(tmp_path: Path) -> None:
    out = tmp_path / "new" / "out"
    with staged(out) as stage:
        (stage / "a").write_text("1")
        (stage / "b").write_text("2")
        assert not list(out.glob("[!.]*"))
    assert sorted(path.name for path in out.iterdir()) == ["a", "b"]


def test_a_failure_leaves_everything_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old")
    with pytest.raises(ZeroDivisionError), staged(tmp_path) as stage:
        (stage / "a").write_text("new")
        raise ZeroDivisionError
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a", "old")]


def test_a_failure_removes_the_folders_it_made(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), staged(tmp_path / "x" / "y"):
        raise ZeroDivisionError
    assert not list(tmp_path.iterdir())


def test_a_place_that_cannot_be_written_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"), staged_file(tmp_path / "file" / "x.csv"):
        pass


def test_asking_whether_a_place_can_be_written_leaves_nothing(tmp_path: Path) -> None:
    check_writable(tmp_path / "x" / "y")
    assert not list(tmp_path.iterdir())
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        check_writable(tmp_path / "file" / "x")


def test_a_full_disk_is_one_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="No space left"), staged(tmp_path):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
