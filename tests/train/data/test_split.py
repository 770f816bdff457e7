import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from catsdogs_edge.errors import DataError
from catsdogs_edge.images.drawings import write_folder
from catsdogs_edge.images.similarity import EDGE
from catsdogs_train.data import split as split_module
from catsdogs_train.data.audit import Finding, examine
from catsdogs_train.data.split import Candidate, Sample, Sides, Split, make_split, set_apart, take


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("drawn")
    write_folder(folder, per_class=50)
    return folder


def split(
    *data: Path, val: Path | None = None, train_size: int | None = None, val_size: int | None = None, seed: int = 0
) -> Split:
    return make_split(data, val=val, train_size=train_size, val_size=val_size, seed=seed)


def shares(samples: Sequence[Sample]) -> list[int]:
    """How many there are of each class, fewest first."""
    return sorted(Counter(sample.label for sample in samples).values())


def names(samples: Sequence[Sample]) -> set[str]:
    return {f"{sample.path.parent.name}/{sample.path.name}" for sample in samples}


def reasons(result: Split) -> dict[str, str]:
    return {item.path.name: item.reason for item in result.quarantine}


def test_a_part_of_each_class_is_kept_back(drawn: Path) -> None:
    result = split(drawn)
    assert result.classes == ("cat", "dog")
    assert len(result.train) + len(result.val) == 100
    assert [sum(sample.label == label for sample in result.val) for label in (0, 1)] == [16, 16]  # few: a third
    assert not names(result.train) & names(result.val)
    assert all(result.classes[sample.label] == sample.path.parent.name for sample in result.train)


@pytest.fixture
def as_in_large_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    """No class is so small that its border moves."""
    monkeypatch.setattr("catsdogs_train.data.split.LEAST_VAL", 0)


@pytest.mark.usefixtures("as_in_large_classes")
def test_an_image_keeps_its_side_when_others_are_added_or_it_is_renamed(drawn: Path, tmp_path: Path) -> None:
    before = split(drawn)
    shutil.copytree(drawn, tmp_path / "more")
    write_folder(tmp_path / "new", per_class=30, first_seed=500)
    for path in (tmp_path / "new").rglob("*.png"):
        path.rename(tmp_path / "more" / path.parent.name / f"new-{path.name}")
    after = split(tmp_path / "more")
    assert names(before.val) <= names(after.val)
    assert names(before.train) <= names(after.train)
    assert len(after.val) > len(before.val)
    for path in (tmp_path / "more").rglob("*.png"):
        path.rename(path.with_name(f"renamed-{path.name}"))
    assert {name.replace("renamed-", "") for name in names(split(tmp_path / "more").val)} == names(after.val)


def test_sizes_are_taken_at_their_word(drawn: Path) -> None:
    result = split(drawn, train_size=10, val_size=5)
    assert shares(result.train) == [5, 5]
    assert shares(result.val) == [2, 3]
    larger = split(drawn, train_size=20, val_size=15)
    assert names(result.train) <= names(larger.train)
    assert names(result.val) <= names(larger.val)


def test_each_class_has_its_first_image_before_others_have_more() -> None:
    samples = [Sample(Path(f"{number}.png"), int(number >= 98), str(number)) for number in range(100)]
    candidates = [
        Candidate(sample, Finding(sample.sha256, 0, thumbnail(number), "")) for number, sample in enumerate(samples)
    ]
    assert {item.sample.label for item in take(candidates, 10, 0, "--train-size")} == {0, 1}


def thumbnail(seed: int) -> bytes:
    return np.random.default_rng(seed).bytes(3 * EDGE * EDGE)


def test_a_folder_of_its_own_to_validate_on(drawn: Path, tmp_path: Path) -> None:
    write_folder(tmp_path, per_class=3, first_seed=100)
    result = split(drawn, val=tmp_path, val_size=4)
    assert shares(result.train) == [50, 50]
    assert shares(result.val) == [2, 2]
    assert all(tmp_path in sample.path.parents for sample in result.val)


def test_a_seed_gives_one_split(drawn: Path) -> None:
    assert split(drawn, train_size=10, seed=3) == split(drawn, train_size=10, seed=3)
    assert split(drawn, train_size=10, seed=3) != split(drawn, train_size=10, seed=4)


def test_several_folders_are_one(drawn: Path, tmp_path: Path) -> None:
    write_folder(tmp_path, per_class=5, first_seed=300)
    result = split(drawn, tmp_path)
    assert len(result.train) + len(result.val) == 110


def test_bad_files_and_copies_are_left_out_with_their_reasons(tmp_path: Path) -> None:
    write_folder(tmp_path, per_class=10)
    (tmp_path / "cat" / "empty.jpg").touch()
    (tmp_path / "cat" / "text.jpg").write_text("words")
    shutil.copy(tmp_path / "cat" / "3.png", tmp_path / "cat" / "copy.png")
    shutil.copy(tmp_path / "cat" / "4.png", tmp_path / "dog" / "traitor.png")
    result = split(tmp_path)
    found = reasons(result)
    assert found.pop("empty.jpg") == "empty file"
    assert "not an image" in found.pop("text.jpg")
    assert found.pop("copy.png") == f"the same file as {tmp_path}/cat/3.png"
    assert found == dict.fromkeys(("4.png", "traitor.png"), "the same file is labelled cat and dog")
    assert len(result.train) + len(result.val) == 19
    assert len(list(tmp_path.rglob("*.*"))) == 24  # nothing is deleted


def near_copy(path: Path, out: Path, quality: int = 70) -> None:
    image = cv2.imread(str(path))
    assert image is not None
    assert cv2.imwrite(str(out), image, [cv2.IMWRITE_JPEG_QUALITY, quality])


def test_nearly_equal_images_are_on_one_side(drawn: Path, tmp_path: Path) -> None:
    shutil.copytree(drawn, tmp_path / "twice")
    for path in list((tmp_path / "twice").rglob("*.png")):
        near_copy(path, path.with_suffix(".jpg"))
    for train_size, val_size in ((None, None), (60, 40)):
        result = split(tmp_path / "twice", train_size=train_size, val_size=val_size)
        assert len(result.train) + len(result.val) + len(result.quarantine) == 200 or train_size
        stems = [{name.rpartition(".")[0] for name in names(samples)} for samples in (result.train, result.val)]
        assert not stems[0] & stems[1]


def with_sides(before: Split, *data: Path, train_size: int | None = None, val_size: int | None = None) -> Split:
    learned, judged = (frozenset(sample.sha256 for sample in part) for part in (before.train, before.val))
    sides = Sides(learned, judged)
    return make_split(data, val=None, train_size=train_size, val_size=val_size, seed=0, sides=sides)


def hashes(samples: Sequence[Sample]) -> set[str]:
    return {sample.sha256 for sample in samples}


@pytest.mark.parametrize(("train_size", "val_size"), [(None, None), (40, 20), (40, 60)])
def test_images_stay_on_the_side_that_they_had_in_an_earlier_run(
    train_size: int | None, val_size: int | None, drawn: Path, tmp_path: Path
) -> None:
    """Also where it was divided by another seed; near copies go with them, new images are divided."""
    before = split(drawn, seed=1)
    shutil.copytree(drawn, tmp_path / "more")
    for sample in (*before.train[:4], *before.val[:4]):
        folder = tmp_path / "more" / sample.path.parent.name
        near_copy(sample.path, folder / f"copy-{sample.path.stem}.jpg")
    write_folder(tmp_path / "new", per_class=90, first_seed=900)
    after = with_sides(before, tmp_path / "more", tmp_path / "new", train_size=train_size, val_size=val_size)
    assert not hashes(before.train) & hashes(after.val)
    assert not hashes(before.val) & hashes(after.train)
    if val_size:
        assert (len(after.train), len(after.val)) == (train_size, val_size)
        assert len(hashes(before.val) & hashes(after.val)) >= min(val_size, len(before.val)) - 4  # copies judge, too
    else:
        assert hashes(before.train) <= hashes(after.train)
        assert hashes(before.val) <= hashes(after.val)
        copies = {sample.path.name for sample in after.val if sample.path.name.startswith("copy-")}
        assert copies == {f"copy-{sample.path.stem}.jpg" for sample in before.val[:4]}
        assert "new" in {sample.path.parent.parent.name for sample in after.val}


@pytest.mark.parametrize("copies", [0, 9])
def test_one_new_image_or_burst_of_a_class_is_learned(copies: int, drawn: Path, tmp_path: Path) -> None:
    """The earlier run has others to judge it by."""
    before = split(drawn, seed=1)
    write_folder(tmp_path / "new", per_class=1, first_seed=900)
    for path in list((tmp_path / "new").rglob("*.png")):
        for quality in range(60, 60 + 3 * copies, 3):
            near_copy(path, path.with_name(f"{quality}.jpg"), quality)
    after = with_sides(before, drawn, tmp_path / "new")
    assert hashes(after.val) == hashes(before.val)
    assert len(after.train) == len(before.train) + 2 * (1 + copies)


def test_new_frames_that_join_a_burst_teach_no_judge(drawn: Path, tmp_path: Path) -> None:
    """They are near what was learned, and near what judges: these were not near each other."""
    before = split(drawn, seed=1)
    learned, judge = (Candidate(part[0], examine([part[0].path])[0]) for part in (before.train, before.val))
    both = replace(
        learned, sample=replace(learned.sample, sha256="new"), finding=replace(learned.finding, sha256="new")
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(split_module, "near_groups", lambda findings: [0] * len(findings))
        sides = Sides(frozenset([learned.sample.sha256]), frozenset([judge.sample.sha256]))
        assert set_apart([learned, judge, both], sides) == ([judge], [])


def test_where_all_was_learned_the_way_out_is_named(drawn: Path) -> None:
    before = split(drawn)
    with pytest.raises(DataError, match=r"to validate on: add others, or give the --val of the earlier run"):
        with_sides(replace(before, train=(*before.train, *before.val), val=()), drawn)


def test_bursts_validate_as_seldom_as_single_images(tmp_path: Path) -> None:
    write_folder(tmp_path / "single", per_class=30)
    for path in (tmp_path / "single").rglob("*.png"):
        folder = tmp_path / "bursts" / path.parent.name
        folder.mkdir(parents=True, exist_ok=True)
        for quality in range(70, 90, 2):
            near_copy(path, folder / f"{path.stem}-{quality}.jpg", quality)
    result = split(tmp_path / "bursts")
    assert len(result.train) + len(result.val) == 600
    assert 100 <= len(result.val) <= 180  # 50 of the 300 of each class; a fifth, by lot, is 120
    bursts = [{name.partition("-")[0] for name in names(samples)} for samples in (result.train, result.val)]
    assert not bursts[0] & bursts[1]


@pytest.mark.parametrize(
    ("groups", "val"),  # images in each group of near copies, and how many may validate
    [
        ((10, 90), {10}),
        ((2, 28), {2}),
        ((5, 60, 35), {5, 35, 40}),
        ((45, 45, 10), {10, 45}),
        ((30, 30, 30, 10), {10, 30, 40}),
        ((*[1] * 10, 90), {1, 2, 3, 4, 5, 6}),  # three of them, or more by lot
        ((50, 50), {50}),
        ((1, 1), {1}),
    ],
)
def test_a_burst_that_is_most_of_its_class_trains(groups: tuple[int, ...], val: set[int]) -> None:
    found = set()
    for seed in range(200):
        keys = np.random.default_rng(seed).random(len(groups)).tolist()
        sizes = dict(zip(keys, groups, strict=True))
        found.add(sum(sizes[key] for key in split_module._choose_val_keys(sizes)))
    assert found <= val


def test_a_class_that_is_one_burst_has_nothing_to_learn_from(drawn: Path, tmp_path: Path) -> None:
    shutil.copytree(drawn / "dog", tmp_path / "dog")
    (tmp_path / "cat").mkdir()
    for quality in range(70, 90, 2):
        near_copy(drawn / "cat" / "0.png", tmp_path / "cat" / f"{quality}.jpg", quality)
    with pytest.raises(
        DataError,
        match=r"no image of class 'cat' is left to train on: add others \(images that are nearly",
    ):
        split(tmp_path)


def test_training_images_that_are_nearly_ones_to_validate_on_are_left_out(drawn: Path, tmp_path: Path) -> None:
    write_folder(tmp_path / "val", per_class=5, first_seed=200)
    near_copy(drawn / "dog" / "7.png", tmp_path / "val" / "dog" / "seven.jpg")
    result = split(drawn, val=tmp_path / "val")
    assert reasons(result) == {"7.png": f"nearly the same image as {tmp_path}/val/dog/seven.jpg, which validates"}
    assert len(result.train) == 99


def test_a_tiny_class_still_has_one_to_validate_on(tmp_path: Path) -> None:
    write_folder(tmp_path, per_class=3)
    result = split(tmp_path)
    assert len(shares(result.val)) == 2


def test_data_that_cannot_be_used_is_refused(drawn: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        split(tmp_path / "missing")
    (tmp_path / "cat").mkdir()
    (tmp_path / "dog").mkdir()
    with pytest.raises(DataError, match="class 'cat' has no usable image"):
        split(tmp_path)
    with pytest.raises(DataError, match=r"^--val-size 101, but there are 100 images for it: ask for fewer$"):
        split(drawn, val_size=101)
    with pytest.raises(DataError, match=r"100 training images are in .*, too, such as .*/cat/0\.png"):
        split(drawn, val=drawn)
    with pytest.raises(
        DataError,
        match=r"no image of class '(cat|dog)' is left to train on: add others, or raise --train-size \(",
    ):
        split(drawn, train_size=1)
    write_folder(tmp_path, per_class=1)
    (tmp_path / "dog").rename(tmp_path / "hound")
    with pytest.raises(DataError, match="expected \\(cat, dog\\)"):
        split(drawn, val=tmp_path)


def test_mostly_bad_files_are_the_wrong_folder(tmp_path: Path) -> None:
    write_folder(tmp_path, per_class=5)
    for number in range(6):
        (tmp_path / "cat" / f"{number}.jpg").write_text("<html>")
    with pytest.raises(DataError, match=r"6 of 16 files are no images \(most often: not an image.*right folder"):
        split(tmp_path)


@pytest.mark.slow
@pytest.mark.shared
def test_real_images_that_are_nearly_the_same_are_found(shared: Path) -> None:
    data = shared / "data"
    result = split(data / "more", val=data / "val")
    found = reasons(result)
    assert {"cat.1930.jpg", "cat.1639.jpg", "cat.3345.jpg", "cat.2339.jpg"} <= found.keys()
    assert len(found) < 10
    assert len(result.val) == 5000
