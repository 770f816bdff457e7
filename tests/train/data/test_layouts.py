import logging
import os
import shutil
import stat
import zipfile
from pathlib import Path

import pytest

from catsdogs_edge.collection.review import CLASSES, OTHER, ROWS
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
    with pytest.raises(DataError, match=r"^\S*evil\.zip holds '.*', which leads out of it"):
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
    archive = tmp_path / "damaged.zip"
    refused = 0
    for index in range(0, len(whole), len(whole) // 500):
        archive.write_bytes(whole[:index] + bytes([whole[index] ^ 0x55]) + whole[index + 1 :])
        try:
            unpack(archive, tmp_path / "into")
        except DataError:
            refused += 1
        shutil.rmtree(tmp_path / "into", ignore_errors=True)
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


def test_images_without_a_label_are_counted(
    folders: Path, flat: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = flat / "train" / "cat.0.png"
    shutil.copy(source, flat / "train" / "cat (3).png")
    for number in range(2):
        shutil.copy(source, flat / "train" / f"żaba.{number}.png")
    classes, labelled = find_all([flat])
    assert (classes, len(labelled)) == (("cat", "dog", "żaba"), 8)
    assert "left out: 1 image not named by a class and a number" in caplog.text
    write_folder(folders, per_class=3)
    shutil.copy(source, folders / "IMG_0001.png")
    assert names(*find_all([folders])) == EXPECTED
    assert "left out: 1 image beside the folders of the classes" in caplog.text


def test_one_image_of_another_name_is_no_class(flat: Path, caplog: pytest.LogCaptureFixture) -> None:
    source = flat / "train" / "cat.0.png"
    shutil.copy(source, flat / "train" / "cover_1.png")
    assert find_all([flat])[0] == ("cat", "dog")
    assert "left out: 1 image not named by a class" in caplog.text


def test_an_earlier_run_is_named_once(folders: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    (folders / "run").mkdir()
    (folders / "run" / "run.json").touch()
    assert names(*find_all([folders])) == EXPECTED
    assert caplog.text.count("is the run folder of a training") == 1


def test_a_folder_that_is_named_twice_counts_once(folders: Path) -> None:
    assert names(*find_all([folders, folders / ".." / folders.name])) == EXPECTED


def test_images_that_are_named_by_animals_do_not_change_what_their_folder_is(folders: Path) -> None:
    write_folder(folders, per_class=5)
    for name in ("minka_1", "minka_2", "tom_1", "tom_2"):
        shutil.copy(folders / "cat" / "0.png", folders / "cat" / f"{name}.png")
    classes, labelled = find_all([folders])
    assert classes == ("cat", "dog")
    assert len(labelled) == 14
    for number in range(5):  # nor numbers alone
        (folders / "cat" / f"{number}.png").rename(folders / "cat" / f"2026-05-01 12.00.0{number}.png")
    assert find_all([folders])[0] == ("cat", "dog")


def test_one_file_under_two_labels_has_both(folders: Path) -> None:
    (folders / "dog" / "twice.png").symlink_to(folders / "cat" / "0.png")
    _, labelled = find_all([folders])
    labels = [label for path, label in labelled if path.resolve() == (folders / "cat" / "0.png").resolve()]
    assert labels == [0, 1]
    assert labelled == sorted(labelled, key=lambda item: item[1])


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


@pytest.mark.parametrize("stems", [("IMG_", "DSC_"), ("Abyssinian_", "Bengal_"), ("ant.", "bee.")])
def test_class_folders_win_over_the_names_of_their_files(stems: tuple[str, str], folders: Path) -> None:
    for name in ("cat", "dog"):
        for number, path in enumerate(sorted((folders / name).iterdir())):
            for stem in stems:
                shutil.copy(path, path.with_name(f"{stem}{number}.png"))
            path.unlink()
    classes, labelled = find_all([folders])
    assert classes == ("cat", "dog")
    assert len(labelled) == 12


def test_names_of_a_camera_are_no_classes(tmp_path: Path) -> None:
    for name in ("IMG_1", "IMG_2", "DSC_1", "DSC_2"):
        (tmp_path / f"{name}.jpg").touch()
    with pytest.raises(DataError, match="has 0 class folders"):
        find_all([tmp_path])


def test_the_same_folders_in_each_class_are_no_classes(folders: Path) -> None:
    for name in ("cat", "dog"):
        for year, path in zip(("2023", "2024", "2025"), sorted((folders / name).iterdir()), strict=True):
            (folders / name / year).mkdir()
            path.rename(folders / name / year / path.name)
    assert names(*find_all([folders])) == EXPECTED


def test_a_data_set_in_parts_names_the_way(folders: Path, tmp_path: Path) -> None:
    for part in ("test", "train", "val"):
        shutil.copytree(folders, tmp_path / "set" / part)
    with pytest.raises(DataError, match=r"did you mean .*train instead of"):
        find_all([tmp_path / "set"])


def test_run_folders_and_folders_of_the_system_are_left_out(folders: Path, caplog: pytest.LogCaptureFixture) -> None:
    for folder in ("run", "@eaDir", "cat/@eaDir", "cat/.thumbnails"):
        (folders / folder).mkdir()
        shutil.copy(folders / "dog" / "0.png", folders / folder / "plot.png")
    (folders / "run" / "run.json").write_text("{}")
    caplog.set_level(logging.INFO)
    assert names(*find_all([folders])) == EXPECTED
    assert "is the run folder of a training, and left out" in caplog.text


def test_links_to_folders_are_said(folders: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_folder(tmp_path / "more", per_class=1)
    (folders / "cat" / "more").symlink_to(tmp_path / "more")
    caplog.set_level(logging.INFO)
    assert names(*find_all([folders])) == EXPECTED
    assert "cat/more is a link to a folder, and left out" in caplog.text


def test_classes_that_differ_only_in_capitals_are_said(folders: Path, caplog: pytest.LogCaptureFixture) -> None:
    shutil.copytree(folders / "cat", folders / "Cat")
    assert find_all([folders])[0] == ("Cat", "cat", "dog")
    assert "Cat and cat in" in caplog.text


def test_a_cache_that_lacks_files_is_unpacked_anew(folders: Path, tmp_path: Path) -> None:
    archive = zipped(folders, tmp_path / "pets.zip")
    folder = unpack(archive, tmp_path / "into")
    next(folder.rglob("*.png")).unlink()
    assert len(list(unpack(archive, tmp_path / "into").rglob("*.png"))) == 6


def test_another_archive_of_the_same_name_size_and_time_is_another(folders: Path, tmp_path: Path) -> None:
    archive = zipped(folders, tmp_path / "pets.zip")
    times = archive.stat().st_atime_ns, archive.stat().st_mtime_ns
    first = unpack(archive, tmp_path / "into")
    data = archive.read_bytes()
    archive.write_bytes(data.replace(b"dog/", b"god/"))
    os.utime(archive, ns=times)
    assert archive.stat().st_size == len(data)
    assert unpack(archive, tmp_path / "into") != first


def test_two_images_of_one_name_in_a_zip_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "two.zip", "w") as archive:
        archive.writestr("cat/1.jpg", b"x")
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("cat/1.jpg", b"y")
    with pytest.raises(DataError, match=r"holds 'cat/1\.jpg' 2 times"):
        unpack(tmp_path / "two.zip", tmp_path / "into")


def test_a_bomb_in_a_zip_is_refused(tmp_path: Path) -> None:
    with (
        zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("cat/1.jpg", "w") as out,
    ):
        for _ in range(300):
            out.write(bytes(1 << 20))
    with pytest.raises(DataError, match="do not trust this file"):
        unpack(tmp_path / "bomb.zip", tmp_path / "into")
    assert not any((tmp_path / "into").rglob("*"))


def test_a_colon_in_a_name_in_a_zip_is_a_name(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "colon.zip", "w") as archive:
        archive.writestr("cat/12:30.jpg", b"x")
    assert [path.name for path in unpack(tmp_path / "colon.zip", tmp_path / "into").rglob("*.jpg")] == ["12:30.jpg"]


def test_a_folder_beside_that_of_a_run_is_still_gone_into(folders: Path, tmp_path: Path) -> None:
    shutil.copytree(folders, tmp_path / "data" / "PetImages")
    for name in ("run", "@eaDir"):
        (tmp_path / "data" / name).mkdir()
    (tmp_path / "data" / "run" / "run.json").write_text("{}")
    assert names(*find_all([tmp_path / "data"])) == EXPECTED


def test_a_zip_without_images_is_named_and_not_a_folder_of_ours(tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text("no image")
    archive = Path(shutil.make_archive(str(tmp_path / "empty"), "zip", tmp_path / "notes"))
    with pytest.raises(DataError) as caught:
        find_all([archive])
    assert str(archive) in str(caught.value)
    assert "cache" not in str(caught.value)


def test_files_that_are_no_images_are_named(
    folders: Path, tmp_path: Path, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    for name in ("one.heic", "two.HEIC", "list.txt"):
        (folders / "cat" / name).touch()
    (folders / "beside.heic").touch()
    find_all([folders])
    assert f"{folders / 'cat'}: left out: 2 .heic, 1 .txt (HEIC: convert them to JPEG first)" in caplog.text
    assert f"{folders}: left out: 1 .heic" in caplog.text
    archive = zipped(folders, tmp_path / "pets.zip")
    for _ in range(2):  # unpacked once, and said each time
        caplog.clear()
        find_all([archive])
        assert f"{archive}: left out: 3 .heic, 1 .txt (HEIC" in caplog.text


def test_files_of_a_flat_folder_that_are_no_images_are_named(flat: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    (flat / "train" / "cat.9.heic").touch()
    find_all([flat])
    assert f"{flat / 'train'}: left out: 1 .heic, 1 .txt (HEIC" in caplog.text


def test_one_class_alone_is_named_with_its_folder(folders: Path) -> None:
    shutil.rmtree(folders / "dog")
    with pytest.raises(DataError, match=r"pets has 1 class folder \(cat\)"):
        find_all([folders])


def test_photographs_of_a_camera_beside_flat_names_are_left_out(flat: Path, caplog: pytest.LogCaptureFixture) -> None:
    source = next((flat / "train").glob("cat.*"))
    for number in range(3):
        shutil.copy(source, source.with_name(f"IMG_{number}.png"))
    classes, labelled = find_all([flat])
    assert (classes, len(labelled)) == (("cat", "dog"), 6)
    assert "left out: 3 images not named by a class and a number" in caplog.text


def test_the_folder_of_a_review_names_the_way(folders: Path, tmp_path: Path) -> None:
    shutil.copytree(folders, tmp_path / "labelled" / CLASSES)
    for name in (OTHER, ROWS):
        (tmp_path / "labelled" / name).mkdir()
    with pytest.raises(DataError, match=r"did you mean .*labelled/classes"):
        find_all([tmp_path / "labelled"])
