import errno
import os
from pathlib import Path

import pytest

from catsdogs_edge.errors import OutputError
from catsdogs_edge.sorting import How, Sorter


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    """Three files of the same name."""
    paths = [tmp_path / "in" / folder / "a.jpg" for folder in ("1", "2", "3")]
    for number, path in enumerate(paths):
        path.parent.mkdir(parents=True)
        path.write_text(str(number))
    return paths


@pytest.mark.parametrize("how", How)
@pytest.mark.parametrize("links", [True, False])
def test_nothing_is_overwritten(
    how: How, links: bool, pictures: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not links:  # as on FAT

        def refuse(*_: object) -> None:
            raise OSError(errno.EPERM, "no hard links")

        monkeypatch.setattr("os.link", refuse)
    sorter = Sorter(tmp_path / "out", how, ("cat", "dog"))
    targets = [sorter.put(path, "cat") for path in pictures]
    assert [target.name for target in targets] == ["a.jpg", "a (2).jpg", "a (3).jpg"]
    assert [target.read_text() for target in targets] == ["0", "1", "2"]
    assert [path.exists() for path in pictures] == [how is How.COPY] * 3
    assert sorted(path.name for path in (tmp_path / "out" / "cat").iterdir()) == ["a (2).jpg", "a (3).jpg", "a.jpg"]


def test_a_move_to_another_disk_copies_first(pictures: list[Path], tmp_path: Path) -> None:
    other = Path("/dev/shm")  # noqa: S108 - a file system of its own on Linux
    if not other.is_dir() or other.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no second file system")
    folder = other / f"catsdogs-test-{os.getpid()}"
    target = Sorter(folder, How.MOVE, ("cat",)).put(pictures[1], "cat")
    assert target.read_text() == "1"
    assert not pictures[1].exists()
    target.unlink()
    (folder / "cat").rmdir()
    folder.rmdir()


@pytest.mark.parametrize("label", ["", "..", "../up", "a/b", "a\\b"])
def test_a_label_that_would_leave_the_folder_is_refused(label: str, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot be the name of a folder"):
        Sorter(tmp_path / "out", How.COPY, ("cat", label))
    assert not (tmp_path / "out").exists()


def test_a_picture_that_has_gone_is_said(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="has gone"):
        Sorter(tmp_path / "out", How.COPY, ("cat",)).put(tmp_path / "x.jpg", "cat")
    assert not any((tmp_path / "out" / "cat").iterdir())


def test_a_file_in_the_way_is_said(tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    with pytest.raises(OutputError, match="out/cat cannot be written: Not a directory"):
        Sorter(tmp_path / "out", How.COPY, ("cat",))
