import errno
import os
from pathlib import Path

import pytest

from catsdogs_edge.classify.sorter import FileMode, Sorter
from catsdogs_edge.errors import ImageError, OutputError
from catsdogs_edge.output.files import FreeNames


@pytest.fixture
def images(tmp_path: Path) -> list[Path]:
    """Three files of the same name."""
    paths = [tmp_path / "in" / folder / "a.jpg" for folder in ("1", "2", "3")]
    for number, path in enumerate(paths):
        path.parent.mkdir(parents=True)
        path.write_text(str(number))
    return paths


@pytest.mark.parametrize("how", FileMode)
@pytest.mark.parametrize("links", [True, False])
def test_nothing_is_overwritten(
    how: FileMode, links: bool, images: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not links:  # as on FAT

        def refuse(*_: object) -> None:
            raise OSError(errno.EPERM, "no hard links")

        monkeypatch.setattr("os.link", refuse)
    sorter = Sorter(tmp_path / "out", how, ("cat", "dog"))
    targets = []
    for path in images:
        targets.append(sorter.put(path, "cat"))
        assert path.exists()
        sorter.finish(path, targets[-1])
    assert [target.name for target in targets] == ["a.jpg", "a (2).jpg", "a (3).jpg"]
    assert [target.read_text() for target in targets] == ["0", "1", "2"]
    assert [path.exists() for path in images] == [how is FileMode.COPY] * 3
    assert sorted(path.name for path in (tmp_path / "out" / "cat").iterdir()) == ["a (2).jpg", "a (3).jpg", "a.jpg"]


def test_a_move_to_another_disk_copies_first(images: list[Path], tmp_path: Path) -> None:
    other = Path("/dev/shm")  # noqa: S108 - a file system of its own on Linux
    if not other.is_dir() or other.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no second file system")
    folder = other / f"catsdogs-test-{os.getpid()}"
    sorter = Sorter(folder, FileMode.MOVE, ("cat",))
    target = sorter.put(images[1], "cat")
    sorter.finish(images[1], target)
    assert target.read_text() == "1"
    assert not images[1].exists()
    target.unlink()
    (folder / "cat").rmdir()
    folder.rmdir()


def test_a_link_becomes_the_image_and_its_original_stays(images: list[Path], tmp_path: Path) -> None:
    link = tmp_path / "link.jpg"
    link.symlink_to("in/1/a.jpg")
    sorter = Sorter(tmp_path / "out", FileMode.MOVE, ("cat",))
    target = sorter.put(link, "cat")
    sorter.finish(link, target)
    assert not target.is_symlink()
    assert target.read_text() == images[0].read_text() == "0"
    assert not link.is_symlink()


def test_a_move_that_was_killed_in_between_goes_on(images: list[Path], tmp_path: Path) -> None:
    Sorter(tmp_path / "out", FileMode.MOVE, ("cat",)).put(images[0], "cat")  # and no `finish`
    sorter = Sorter(tmp_path / "out", FileMode.MOVE, ("cat",))
    sorter.finish(images[0], sorter.put(images[0], "cat"))
    assert [path.name for path in (tmp_path / "out" / "cat").iterdir()] == ["a.jpg"]


def test_a_name_as_long_as_can_be_is_shortened(tmp_path: Path) -> None:
    name = "é" * 125 + ".jpg"
    for folder in ("1", "2"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).touch()
    sorter = Sorter(tmp_path / "out", FileMode.COPY, ("cat",))
    assert sorter.put(tmp_path / "1" / name, "cat").name == name
    assert sorter.put(tmp_path / "2" / name, "cat").name.endswith("é (2).jpg")


def test_a_name_that_is_taken_often_is_not_tried_each_time(tmp_path: Path) -> None:
    names = FreeNames()
    wanted = tmp_path / "a.jpg"
    for number in range(1, 6):
        tried = []
        for name in names.candidates(wanted):
            tried.append(name)
            if not name.exists():
                name.touch()
                break
        assert len(tried) <= 2, number
    assert len(list(tmp_path.iterdir())) == 5


def test_an_image_that_has_gone_is_said(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="cannot be read any more: No such file"):
        Sorter(tmp_path / "out", FileMode.COPY, ("cat",)).put(tmp_path / "x.jpg", "cat")
    assert not any((tmp_path / "out" / "cat").iterdir())


def test_a_file_in_the_way_is_said(tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    with pytest.raises(OutputError, match="out/cat cannot be written: Not a directory"):
        Sorter(tmp_path / "out", FileMode.COPY, ("cat",))
