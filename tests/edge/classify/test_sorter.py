import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from catsdogs_edge.classify.sorter import FileMode, Original, Placed, Sorter
from catsdogs_edge.errors import ImageError, OutputError


def put(sorter: Sorter, path: Path, label: str = "cat") -> Placed:
    """Reads an image and puts it into its folder."""
    original = Original(path)
    original.read()
    return sorter.put(original, label)


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

        def refuse(*_: object, **__: object) -> None:
            raise OSError(errno.EPERM, "no hard links")

        monkeypatch.setattr("os.link", refuse)
    sorter = Sorter(tmp_path / "out", how, ("cat", "dog"))
    targets = []
    for path in images:
        placed = put(sorter, path)
        targets.append(placed.target)
        assert path.exists()
        sorter.finish(placed)
    assert [target.name for target in targets] == ["a.jpg", "a (2).jpg", "a (3).jpg"]
    assert [target.read_text() for target in targets] == ["0", "1", "2"]
    assert [path.exists() for path in images] == [how is FileMode.COPY] * 3
    assert sorted(path.name for path in (tmp_path / "out" / "cat").iterdir()) == ["a (2).jpg", "a (3).jpg", "a.jpg"]


@pytest.fixture
def other_disk(tmp_path: Path) -> Iterator[Path]:
    other = Path("/dev/shm")  # noqa: S108 - a file system of its own on Linux
    if not other.is_dir() or other.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no second file system")
    folder = other / f"catsdogs-test-{os.getpid()}"
    yield folder
    shutil.rmtree(folder)


def test_a_move_to_another_disk_copies_first(images: list[Path], other_disk: Path) -> None:
    sorter = Sorter(other_disk, FileMode.MOVE, ("cat",))
    placed = put(sorter, images[1])
    sorter.finish(placed)
    assert placed.target.read_text() == "1"
    assert not images[1].exists()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells that a file is being written")
def test_an_upload_that_goes_on_stays_where_it_is(images: list[Path], other_disk: Path) -> None:
    sorter = Sorter(other_disk, FileMode.MOVE, ("cat",))
    with images[0].open("ab") as upload:
        placed = put(sorter, images[0])
        sorter.finish(placed)
        upload.write(b"its end")
    assert images[0].read_bytes().endswith(b"its end")


def test_what_interrupts_a_rename_leaves_no_hidden_name(
    images: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sorter = Sorter(tmp_path / "out", FileMode.MOVE, ("cat",))
    placed = put(sorter, images[0])
    rename = os.rename

    def interrupted(*names: Path) -> None:
        rename(*names)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", interrupted)
        with pytest.raises(KeyboardInterrupt):
            sorter.finish(placed)
    assert images[0].exists()
    assert not list(images[0].parent.glob(".catsdogs-*"))


def test_a_link_becomes_the_image_and_its_original_stays(images: list[Path], tmp_path: Path) -> None:
    link = tmp_path / "link.jpg"
    link.symlink_to("in/1/a.jpg")
    sorter = Sorter(tmp_path / "out", FileMode.MOVE, ("cat",))
    placed = put(sorter, link)
    sorter.finish(placed)
    target = placed.target
    assert not target.is_symlink()
    assert target.read_text() == images[0].read_text() == "0"
    assert not link.is_symlink()


def test_a_move_that_was_killed_in_between_goes_on(images: list[Path], tmp_path: Path) -> None:
    put(Sorter(tmp_path / "out", FileMode.MOVE, ("cat",)), images[0])  # and no `finish`
    sorter = Sorter(tmp_path / "out", FileMode.MOVE, ("cat",))
    sorter.finish(put(sorter, images[0]))
    assert [path.name for path in (tmp_path / "out" / "cat").iterdir()] == ["a.jpg"]


def test_an_ending_as_long_as_can_be_ends(tmp_path: Path) -> None:
    name = "a." + "x" * 253
    for folder in ("1", "2"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).touch()
    sorter = Sorter(tmp_path / "out", FileMode.COPY, ("cat",))
    assert put(sorter, tmp_path / "1" / name).target.name == name
    assert put(sorter, tmp_path / "2" / name).target.name.endswith("x (2)")


def test_what_was_written_into_a_copied_original_meanwhile_stays(images: list[Path]) -> None:
    """Also where neither size nor time tell: between two disks, content decides."""
    other = Path("/dev/shm")  # noqa: S108 - a file system of its own on Linux
    if not other.is_dir() or other.stat().st_dev == images[0].stat().st_dev:
        pytest.skip("there is no second file system")
    folder = other / f"catsdogs-test-{os.getpid()}"
    try:
        sorter = Sorter(folder, FileMode.MOVE, ("cat",))
        placed = put(sorter, images[0])
        status = images[0].stat()
        images[0].write_text("9")
        os.utime(images[0], ns=(status.st_atime_ns, status.st_mtime_ns))
        sorter.finish(placed)
        assert images[0].read_text() == "9"
        assert [path.name for path in images[0].parent.iterdir()] == ["a.jpg"]
    finally:
        shutil.rmtree(folder)


def test_what_a_killed_run_left_under_a_hidden_name_goes_or_is_named(
    images: list[Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sorter = Sorter(tmp_path / "out", FileMode.MOVE, ("cat",))
    moved = []
    for number, path in enumerate(images):
        moved.append((path, put(sorter, path).target))
        path.rename(path.with_name(f".catsdogs-{number:016x}"))  # and killed
    changed = images[0].with_name(f".catsdogs-{0:016x}")
    changed.unlink()
    changed.write_text("another one, which came meanwhile")
    for folder in {path.parent for path in images} - {changed.parent}:
        assert list(folder.glob(".catsdogs-*"))
    sorter.tidy(moved)
    assert [path for folder in {path.parent for path in images} for path in folder.glob(".catsdogs-*")] == [changed]
    assert f"{changed} was left by a run that was killed" in caplog.text
    assert all(target.exists() for _, target in moved)


@pytest.mark.skipif(sys.platform != "linux", reason="overlays are Linux'")
def test_images_on_an_overlay_are_moved(other_disk: Path, tmp_path: Path) -> None:
    """As on a small box whose card is mounted read-only, under a layer in the memory."""
    lower, merged = tmp_path / "lower", tmp_path / "merged"
    for folder in (lower / "in", merged, other_disk / "upper", other_disk / "work"):
        folder.mkdir(parents=True)
    (lower / "in" / "a.jpg").write_text("1")
    layers = f"lowerdir={lower},upperdir={other_disk / 'upper'},workdir={other_disk / 'work'}"
    mounted = subprocess.run(
        ["mount", "-t", "overlay", "overlay", "-o", layers, merged], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("may not mount an overlay here")
    try:
        sorter = Sorter(merged / "out", FileMode.MOVE, ("cat",))
        placed = put(sorter, merged / "in" / "a.jpg")
        sorter.finish(placed)
        assert placed.target.read_text() == "1"
        assert not (merged / "in" / "a.jpg").exists()
    finally:
        subprocess.run(["umount", merged], check=True)


def test_a_name_as_long_as_can_be_is_shortened(tmp_path: Path) -> None:
    name = "é" * 125 + ".jpg"
    for folder in ("1", "2"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).touch()
    sorter = Sorter(tmp_path / "out", FileMode.COPY, ("cat",))
    assert put(sorter, tmp_path / "1" / name).target.name == name
    assert put(sorter, tmp_path / "2" / name).target.name.endswith("é (2).jpg")


def test_an_image_that_has_gone_is_said(images: list[Path], tmp_path: Path) -> None:
    original = Original(images[0])
    original.read()
    images[0].unlink()
    with pytest.raises(ImageError, match="cannot be read any more: no such file"):
        Sorter(tmp_path / "out", FileMode.COPY, ("cat",)).put(original, "cat")
    assert not any((tmp_path / "out" / "cat").iterdir())


@pytest.mark.parametrize("how", FileMode)
def test_an_image_that_is_in_its_place_stays_there(how: FileMode, tmp_path: Path) -> None:
    path = tmp_path / "out" / "cat" / "a (2).jpg"
    path.parent.mkdir(parents=True)
    path.write_text("cat")
    (tmp_path / "linked").symlink_to("out")
    for out in ("out", "linked"):
        for source in (path, tmp_path / "linked" / "cat" / path.name):
            sorter = Sorter(tmp_path / out, how, ("cat",))
            sorter.finish(put(sorter, source))
            assert [(file.name, file.read_text()) for file in path.parent.iterdir()] == [("a (2).jpg", "cat")]


@pytest.mark.parametrize("when", ["before", "between"])
@pytest.mark.parametrize("how", FileMode)
def test_what_came_under_the_same_name_stays(how: FileMode, when: str, images: list[Path], tmp_path: Path) -> None:
    sorter = Sorter(tmp_path / "out", how, ("cat",))
    original = Original(images[0])
    original.read()
    new = tmp_path / "new"
    new.write_text("a new upload")
    if when == "before":
        new.replace(images[0])
        with pytest.raises(ImageError, match="is another one"):
            sorter.put(original, "cat")
    else:
        placed = sorter.put(original, "cat")
        new.replace(images[0])
        sorter.finish(placed)
        assert placed.target.read_text() == "0"
    assert images[0].read_text() == "a new upload"


def test_the_only_copy_stays_where_the_new_one_has_gone(images: list[Path], tmp_path: Path) -> None:
    sorter = Sorter(tmp_path / "out", FileMode.MOVE, ("cat",))
    placed = put(sorter, images[0])
    placed.target.unlink()
    sorter.finish(placed)
    assert images[0].read_text() == "0"
    assert [path.name for path in images[0].parent.iterdir()] == ["a.jpg"]


def test_an_original_that_has_gone_by_itself_is_done(images: list[Path], tmp_path: Path) -> None:
    sorter = Sorter(tmp_path / "out", FileMode.MOVE, ("cat",))
    placed = put(sorter, images[0])
    images[0].unlink()
    sorter.finish(placed)
    assert placed.target.read_text() == "0"


def test_a_target_that_has_gone_is_an_error_of_the_place(images: list[Path], tmp_path: Path) -> None:
    """Such as a disk that was pulled out: no image is to blame."""
    sorter = Sorter(tmp_path / "out", FileMode.MOVE, ("cat",))
    (tmp_path / "out" / "cat").rmdir()
    with pytest.raises(OutputError, match="cannot be written: No such file"):
        put(sorter, images[0])


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() == 0, reason="root may write everywhere")
def test_a_move_out_of_a_read_only_folder_is_refused_first(images: list[Path], tmp_path: Path) -> None:
    images[0].parent.chmod(0o500)
    sorter = Sorter(tmp_path / "out", FileMode.MOVE, ("cat",))
    with pytest.raises(ImageError, match="its folder is read-only; use --copy"):
        put(sorter, images[0])
    assert not any((tmp_path / "out" / "cat").iterdir())


def test_a_copy_never_becomes_a_program_of_another_user(images: list[Path], tmp_path: Path) -> None:
    images[0].chmod(0o4755)
    assert put(Sorter(tmp_path / "out", FileMode.COPY, ("cat",)), images[0]).target.stat().st_mode & 0o7777 == 0o755


def test_a_file_in_the_way_is_said(tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    with pytest.raises(OutputError, match="out/cat cannot be written: Not a directory"):
        Sorter(tmp_path / "out", FileMode.COPY, ("cat",))
