import stat
import zipfile
from pathlib import Path

import pytest

from catsdogs_edge.errors import DataError
from catsdogs_edge.images.drawings import write_folder
from catsdogs_train.data.layouts import find_all, unpack


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """A folder for each class."""
    write_folder(tmp_path / "pets", per_class=3)
    return tmp_path / "pets"


@pytest.fixture
def flat(folders: Path, tmp_path: Path) -> Path:
    """As in Kaggle's `train`."""
    out = tmp_path / "flat" / "train"
    out.mkdir(parents=True)
    for path in folders.rglob("*.png"):
        path.rename(out / f"{path.parent.name}.{path.name}")
    (out / "notes.txt").touch()
    return out.parent


def zipped(folder: Path, out: Path, *, prefix: str = "") -> Path:
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*.*")):
            archive.write(path, prefix + str(path.relative_to(folder)))
    return out


def names(classes: tuple[str, ...], labelled: list[tuple[Path, int]]) -> list[str]:
    return sorted(f"{classes[label]} {path.name}" for path, label in labelled)


EXPECTED = [f"{name} {number}.png" for name in ("cat", "dog") for number in range(3)]
FLAT = [f"{name} {name}.{number}.png" for name in ("cat", "dog") for number in range(3)]


def test_a_folder_for_each_class_also_inside_another(folders: Path, tmp_path: Path) -> None:
    assert names(*find_all([folders])) == EXPECTED
    (tmp_path / "outer" / "PetImages").parent.mkdir()
    folders.rename(tmp_path / "outer" / "PetImages")
    (tmp_path / "outer" / "readme[1].txt").touch()
    assert names(*find_all([tmp_path / "outer"])) == EXPECTED


def test_flat_names(flat: Path) -> None:
    assert find_all([flat])[0] == ("cat", "dog")
    assert names(*find_all([flat])) == FLAT


@pytest.mark.parametrize("prefix", ["", "PetImages/"])
def test_a_zip_of_folders(prefix: str, folders: Path, tmp_path: Path, cache: Path) -> None:
    (folders / "Thumbs.db").touch()
    archive = zipped(folders, tmp_path / f"pets{len(prefix)}.zip", prefix=prefix)
    classes, labelled = find_all([archive])
    assert names(classes, labelled) == EXPECTED
    assert all(cache in path.parents for path, _ in labelled)
    before = {path: path.stat().st_mtime_ns for path, _ in labelled}
    assert find_all([archive]) == (classes, labelled)  # unpacked once
    assert {path: path.stat().st_mtime_ns for path, _ in labelled} == before


def test_a_zip_of_flat_names(flat: Path, tmp_path: Path) -> None:
    assert names(*find_all([zipped(flat, tmp_path / "train.zip")])) == FLAT


def test_several_roots(folders: Path, flat: Path, tmp_path: Path) -> None:
    write_folder(folders, per_class=2, first_seed=50)
    classes, labelled = find_all([folders, zipped(flat, tmp_path / "more.zip")])
    assert classes == ("cat", "dog")
    assert len(labelled) == 4 + 6


def test_several_roots_with_other_classes_are_refused(folders: Path, tmp_path: Path) -> None:
    write_folder(tmp_path / "other", per_class=1)
    (tmp_path / "other" / "dog").rename(tmp_path / "other" / "Dog")
    with pytest.raises(DataError, match=r"other has the classes \(Dog, cat\), expected \(cat, dog\) as in .*pets"):
        find_all([folders, tmp_path / "other"])


@pytest.mark.parametrize("name", ["../evil.jpg", "/etc/evil.jpg", "cat/../../evil.jpg", "..\\evil.jpg", "C:/evil.jpg"])
def test_a_path_that_leads_out_of_a_zip_is_refused(name: str, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as archive:
        archive.writestr("cat/1.jpg", b"x")
        archive.writestr(name, b"x")
    with pytest.raises(DataError, match="which leads out of it"):
        unpack(tmp_path / "evil.zip", tmp_path / "into")
    assert not list(tmp_path.rglob("*.jpg"))


def test_a_link_in_a_zip_is_refused(tmp_path: Path) -> None:
    entry = zipfile.ZipInfo("cat/1.jpg")
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as archive:
        archive.writestr(entry, "/etc/passwd")
    with pytest.raises(DataError, match="which leads out of it"):
        unpack(tmp_path / "evil.zip", tmp_path / "into")


def test_what_is_no_zip_is_one_line_and_leaves_nothing(folders: Path, tmp_path: Path) -> None:
    (tmp_path / "text.zip").write_text("no zip")
    whole = zipped(folders, tmp_path / "whole.zip").read_bytes()
    (tmp_path / "damaged.zip").write_bytes(whole[:200] + bytes(50) + whole[250:])
    for name in ("text.zip", "damaged.zip"):
        with pytest.raises(DataError, match="is not a zip file that can be unpacked"):
            unpack(tmp_path / name, tmp_path / "into")
    assert not any((tmp_path / "into").rglob("*"))


@pytest.mark.slow
def test_every_damaged_byte_is_one_line_or_none(folders: Path, tmp_path: Path) -> None:
    whole = zipped(folders, tmp_path / "whole.zip").read_bytes()
    refused = 0
    for number, index in enumerate(range(0, len(whole), 97)):
        archive = tmp_path / f"{number}.zip"
        archive.write_bytes(whole[:index] + bytes([whole[index] ^ 0x55]) + whole[index + 1 :])
        try:
            unpack(archive, tmp_path / "into")
        except DataError:
            refused += 1
    assert refused > 20


def test_kaggle_s_folder_as_downloaded_names_the_way(flat: Path) -> None:
    (flat / "test1").mkdir()
    (flat / "test1" / "1.jpg").touch()
    with pytest.raises(DataError, match=r"train holds images of several classes by their names: did you mean it"):
        find_all([flat])


def test_stray_files_beside_class_folders_are_no_classes(folders: Path) -> None:
    for name in ("IMG_0001.png", "DSC_0002.png", "cat.0.json"):
        (folders / name).touch()
    assert names(*find_all([folders])) == EXPECTED


def test_a_folder_that_is_named_twice_counts_once(folders: Path) -> None:
    assert names(*find_all([folders, folders / ".." / folders.name])) == EXPECTED


def test_names_with_backslashes_are_folders(folders: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "windows.zip", "w") as archive:
        for path in sorted(folders.rglob("*.png")):
            entry = zipfile.ZipInfo("x")
            entry.filename = f"{path.parent.name}\\{path.name}"
            archive.writestr(entry, path.read_bytes())
    assert names(*find_all([tmp_path / "windows.zip"])) == EXPECTED


def test_a_name_that_is_too_long_is_one_line() -> None:
    with pytest.raises(DataError, match="cannot be read: File name too long"):
        find_all([Path("x" * 300)])


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder or zip file"):
        find_all([tmp_path / "missing"])
