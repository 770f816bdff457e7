import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from catsdogs_edge.errors import DataError
from catsdogs_edge.images.drawings import write_folder
from catsdogs_train.data import rehearsal
from catsdogs_train.data.drop_list import DropList
from catsdogs_train.data.rehearsal import EARLIER, LEAST_SHARE, extend_split
from catsdogs_train.data.split import Sample, Split, make_split
from catsdogs_train.run.tables import read_split, write_split
from catsdogs_train.views.batches import make_sample_weights

CLASSES = ("cat", "dog")


@pytest.fixture
def earlier(tmp_path: Path) -> Split:
    write_folder(tmp_path / "old", per_class=20)
    return make_split([tmp_path / "old"], val=None, train_size=None, val_size=None, seed=0)


def write_twin(sample: Sample, folder: Path) -> Path:
    """Writes nearly the same image as a sample, a little smaller, and returns where it is."""
    image = cv2.imread(str(sample.path))
    assert image is not None
    twin = folder / CLASSES[sample.label] / f"twin-{sample.path.name}"
    assert cv2.imwrite(str(twin), cv2.resize(image, None, fx=0.95, fy=0.95))
    return twin


def test_old_images_stay_on_their_side_and_new_ones_are_divided(tmp_path: Path, earlier: Split) -> None:
    write_folder(tmp_path / "new", per_class=12, first_seed=500)
    split = extend_split(CLASSES, earlier, [tmp_path / "new"], 0)
    sides = {"train": split.train, "val": split.val}
    for name, before in (("train", earlier.train), ("val", earlier.val)):
        kept = {sample.path for sample in sides[name] if sample.source == EARLIER}
        assert kept == {sample.path for sample in before}
        assert {sample.source for sample in sides[name]} == {EARLIER, str(tmp_path / "new")}
    assert split.classes == CLASSES


@pytest.mark.parametrize("balance", [True, False])
@pytest.mark.parametrize("kinds", [["cat", "dog"], ["cat"]])
def test_few_new_images_count_as_much_as_a_share_of_their_class(
    kinds: list[str], balance: bool, tmp_path: Path, earlier: Split
) -> None:
    write_folder(tmp_path / "new", per_class=3, first_seed=500, kinds=kinds)
    (tmp_path / "new" / "dog").mkdir(exist_ok=True)
    split = extend_split(CLASSES, earlier, [tmp_path / "new"], 0)
    weights = make_sample_weights(split.train, 2, balance=balance)
    labels = np.array([sample.label for sample in split.train])
    is_new = np.array([sample.source != EARLIER for sample in split.train])
    for label in range(len(kinds)):
        share = weights[(labels == label) & is_new].sum() / weights[labels == label].sum()
        assert share == pytest.approx(LEAST_SHARE, abs=0.01)


def test_one_class_alone_may_be_new(tmp_path: Path, earlier: Split) -> None:
    write_folder(tmp_path / "new", per_class=6, first_seed=500, kinds=["dog"])
    split = extend_split(CLASSES, earlier, [tmp_path / "new"], 0)
    assert {sample.label for sample in split.train if sample.source != EARLIER} == {1}


@pytest.mark.parametrize("name", ["dog.{}.png", "dog/young/{}.png"])
def test_one_class_alone_may_lie_in_any_way(name: str, tmp_path: Path, earlier: Split) -> None:
    write_folder(tmp_path / "drawn", per_class=6, first_seed=500, kinds=["dog"])
    for number, path in enumerate(sorted((tmp_path / "drawn").rglob("*.png"))):
        target = tmp_path / "new" / name.format(number)
        target.parent.mkdir(parents=True, exist_ok=True)
        path.rename(target)
    split = extend_split(CLASSES, earlier, [tmp_path / "new"], 0)
    assert {sample.label for sample in split.train if sample.source != EARLIER} == {1}


def test_one_class_alone_may_be_in_a_zip(tmp_path: Path, earlier: Split) -> None:
    for number, kind in enumerate(("dog", "cat")):
        write_folder(tmp_path / kind, per_class=6, first_seed=500 + number, kinds=[kind])
    archive = Path(shutil.make_archive(str(tmp_path / "new"), "zip", tmp_path / "dog"))
    split = extend_split(CLASSES, earlier, [archive, tmp_path / "cat"], 0)
    assert {sample.label for sample in split.train if sample.source != EARLIER} == {0, 1}


def test_what_is_nearly_an_image_that_judges_is_not_learned(tmp_path: Path, earlier: Split) -> None:
    write_folder(tmp_path / "new", per_class=6, first_seed=500)
    twin = write_twin(earlier.val[0], tmp_path / "new")
    split = extend_split(CLASSES, earlier, [tmp_path / "new"], 0)
    assert twin not in {sample.path for sample in split.train}


@pytest.mark.parametrize(
    ("kinds", "seed", "message"),
    [
        (["cat", "dog"], 0, "no image that the earlier run did not have"),
        (["cat", "room"], 500, r"new has the classes \(room\), which the earlier run does not know: train anew"),
    ],
)
def test_what_cannot_be_is_one_line(kinds: list[str], seed: int, message: str, tmp_path: Path, earlier: Split) -> None:
    write_folder(tmp_path / "new", per_class=4, first_seed=seed, kinds=kinds)
    with pytest.raises(DataError, match=message):
        extend_split(CLASSES, earlier, [tmp_path / "new"], 0)


def test_images_that_are_gone_are_named(tmp_path: Path, earlier: Split) -> None:
    write_folder(tmp_path / "new", per_class=4, first_seed=500)
    earlier.train[0].path.unlink()
    with pytest.raises(DataError, match=r"1 of the \d+ images of the earlier run are gone, such as .*put them back"):
        extend_split(CLASSES, earlier, [tmp_path / "new"], 0)


def test_what_a_run_before_the_earlier_one_learned_stays_and_its_copies_too(tmp_path: Path, earlier: Split) -> None:
    """Of these, only hashes are known: `learned_hashes` and `judged_hashes`."""
    learned, judged = (frozenset(sample.sha256 for sample in part) for part in (earlier.train, earlier.val))
    write_folder(tmp_path / "other", per_class=20, first_seed=900)
    between = make_split([tmp_path / "other"], val=None, train_size=None, val_size=None, seed=0)
    between = replace(between, learned_hashes=learned, judged_hashes=judged)
    write_split(tmp_path, between)
    between = read_split(tmp_path, CLASSES)
    shutil.copytree(tmp_path / "old", tmp_path / "again")
    twins = {write_twin(sample, tmp_path / "again") for sample in earlier.train[::3]}
    split = extend_split(CLASSES, between, [tmp_path / "again"], 0)
    trains, validates = ({sample.sha256 for sample in part} for part in (split.train, split.val))
    assert learned <= trains
    assert judged <= validates
    assert twins <= {sample.path for sample in split.train}


def test_one_flat_image_of_a_class_may_be_new(tmp_path: Path, earlier: Split) -> None:
    write_folder(tmp_path / "drawn", per_class=1, first_seed=500, kinds=["dog"])
    (tmp_path / "new").mkdir()
    (tmp_path / "drawn" / "dog" / "500.png").rename(tmp_path / "new" / "dog.7.png")
    split = extend_split(CLASSES, earlier, [tmp_path / "new"], 0)
    assert tmp_path / "new" / "dog.7.png" in {sample.path for sample in split.train}


def test_images_that_were_moved_are_found_in_data(tmp_path: Path, earlier: Split) -> None:
    write_folder(tmp_path / "new", per_class=6, first_seed=500)
    at_home = extend_split(CLASSES, earlier, [tmp_path / "new"], 0)
    (tmp_path / "old").rename(tmp_path / "moved")
    with pytest.raises(DataError, match=r"are gone, such as .*name the folder or zip file that holds them now"):
        extend_split(CLASSES, earlier, [tmp_path / "new"], 0)
    moved = extend_split(CLASSES, earlier, [tmp_path / "new", tmp_path / "moved"], 0)
    for before, after in ((at_home.train, moved.train), (at_home.val, moved.val)):
        assert {(sample.sha256, sample.source) for sample in before} == {
            (sample.sha256, sample.source) for sample in after
        }
    assert all(sample.path.is_file() for sample in (*moved.train, *moved.val))
    assert not [item for item in moved.quarantine if item.reason == "the earlier run has it"]


def test_what_is_not_what_it_was_is_left_out_and_named(tmp_path: Path, earlier: Split) -> None:
    write_folder(tmp_path / "new", per_class=4, first_seed=500)
    torn, changed = (earlier.train[index].path for index in (0, 1))
    torn.write_bytes(b"torn")
    shutil.copy(tmp_path / "new" / "dog" / "500.png", changed)
    split = extend_split(CLASSES, earlier, [tmp_path / "new"], 0)
    assert not {torn, changed} & {sample.path for sample in (*split.train, *split.val)}
    reasons = {item.path: item.reason for item in split.quarantine}
    assert "not an image" in reasons[torn]
    assert reasons[changed] == "another image than in the earlier run"


def test_images_come_from_the_zip_file_that_holds_them(tmp_path: Path, earlier: Split) -> None:
    write_folder(tmp_path / "new", per_class=6, first_seed=500)
    write_folder(tmp_path / "more", per_class=6, first_seed=700)
    archive = Path(shutil.make_archive(str(tmp_path / "more"), "zip", tmp_path / "more"))
    split = extend_split(CLASSES, earlier, [tmp_path / "new", archive], 0)
    assert {sample.source for sample in split.train} == {EARLIER, str(tmp_path / "new"), str(archive)}


def test_the_draw_is_the_same_each_time(tmp_path: Path, earlier: Split) -> None:
    write_folder(tmp_path / "new", per_class=8, first_seed=500)
    assert extend_split(CLASSES, earlier, [tmp_path / "new"], 0) == extend_split(
        CLASSES, earlier, [tmp_path / "new"], 0
    )


def test_what_was_learned_before_does_not_judge(
    tmp_path: Path, earlier: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where it is not among those that are rehearsed."""
    monkeypatch.setattr(rehearsal, "MOST_TRAIN", 4)
    write_folder(tmp_path / "new", per_class=20, first_seed=500)
    for sample in earlier.train:
        write_twin(sample, tmp_path / "new")
    split = extend_split(CLASSES, earlier, [tmp_path / "new"], 0)
    assert len(split.earlier_train) == len(earlier.train) - 4
    assert not [sample.path for sample in split.val if sample.path.name.startswith("twin")]


def test_images_stay_on_their_side_for_generations(
    tmp_path: Path, earlier: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also those that a run on the way did not take along, and the folder with the new ones grows."""
    monkeypatch.setattr(rehearsal, "MOST_TRAIN", 4)
    monkeypatch.setattr(rehearsal, "MOST_VAL", 4)
    learned = {sample.sha256 for sample in earlier.train}
    judged = {sample.sha256 for sample in earlier.val}
    for generation in range(1, 4):
        write_folder(tmp_path / "new", per_class=12, first_seed=500 * generation)
        # Another seed would divide them in another way.
        split = extend_split(CLASSES, earlier, [tmp_path / "old", tmp_path / "new"], generation)
        assert not learned & {sample.sha256 for sample in split.val}
        assert not judged & {sample.sha256 for sample in split.train}
        learned |= {sample.sha256 for sample in split.train}
        judged |= {sample.sha256 for sample in split.val}
        write_split(tmp_path, split)
        earlier = read_split(tmp_path, CLASSES)


def test_labels_that_are_wrong_are_left_out_of_the_old_ones_too(
    tmp_path: Path, earlier: Split, caplog: pytest.LogCaptureFixture
) -> None:
    write_folder(tmp_path / "new", per_class=6, first_seed=500)
    listed = tmp_path / "worst.csv"
    listed.write_text(f"path,sha256\n{earlier.train[0].path},{earlier.train[0].sha256}\n")
    split = extend_split(CLASSES, earlier, [tmp_path / "new"], 0, DropList.read(listed))
    assert earlier.train[0].path not in {sample.path for sample in split.train}
    assert [item.path for item in split.quarantine if "listed in" in item.reason] == [earlier.train[0].path]
    listed.write_text(f"sha256\n{earlier.train[0].sha256}\n{earlier.val[0].sha256}\n")
    extend_split(CLASSES, earlier, [tmp_path / "new"], 0, DropList.read(listed))
    assert f"1 more lines of {listed} name none of those" in caplog.text
    listed.write_text("sha256\n" + "\n".join(sample.sha256 for sample in earlier.train if sample.label == 0) + "\n")
    write_folder(tmp_path / "dogs", per_class=6, first_seed=700, kinds=["dog"])
    (tmp_path / "dogs" / "cat").mkdir()
    with pytest.raises(DataError, match="no image of class 'cat' is left to train on: add others"):
        extend_split(CLASSES, earlier, [tmp_path / "dogs"], 0, DropList.read(listed))


def test_what_was_learned_and_is_dropped_changed_or_gone_never_judges(
    tmp_path: Path, earlier: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be learned again, such as with another label."""
    monkeypatch.setattr(rehearsal, "MOST_TRAIN", 4)
    listed = tmp_path / "worst.csv"
    wrong = earlier.train[::2]
    listed.write_text("sha256\n" + "\n".join(sample.sha256 for sample in wrong) + "\n")
    write_folder(tmp_path / "new", per_class=12, first_seed=500)
    first = extend_split(CLASSES, earlier, [tmp_path / "new"], 0, DropList.read(listed))
    assert first.learned_hashes == {sample.sha256 for sample in wrong}
    write_split(tmp_path, first)
    aside = [sample.path for sample in first.earlier_train]
    aside[0].unlink()  # a run takes what it has, and what is only aside may be gone
    write_folder(tmp_path / "newer", per_class=12, first_seed=900)
    for seed in range(5):
        split = extend_split(CLASSES, read_split(tmp_path, CLASSES), [tmp_path / "old", tmp_path / "newer"], seed)
        assert not {sample.sha256 for sample in split.val} & {sample.sha256 for sample in earlier.train}
        assert {sample.sha256 for sample in wrong} <= {sample.sha256 for sample in split.train}
        assert aside[0] in {item.path for item in split.quarantine}


def test_what_is_nearly_an_image_that_judged_before_is_not_learned(
    tmp_path: Path, earlier: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where that does not judge this time: it may again."""
    monkeypatch.setattr(rehearsal, "MOST_VAL", 2)
    write_folder(tmp_path / "new", per_class=12, first_seed=500)
    for sample in earlier.val:
        write_twin(sample, tmp_path / "new")
    split = extend_split(CLASSES, earlier, [tmp_path / "new"], 0)
    assert len(split.earlier_val) == len(earlier.val) - 2
    assert not [sample.path for sample in split.train if sample.path.name.startswith("twin")]


def test_another_label_of_an_image_that_is_known_is_said(
    tmp_path: Path, earlier: Split, caplog: pytest.LogCaptureFixture
) -> None:
    write_folder(tmp_path / "new", per_class=6, first_seed=500)
    known = next(sample for sample in earlier.train if sample.label == 0)
    shutil.copy(known.path, copy := tmp_path / "new" / "dog" / "mended.png")
    split = extend_split(CLASSES, earlier, [tmp_path / "new"], 0)
    reasons = {item.path: item.reason for item in split.quarantine}
    assert reasons[copy] == "the earlier run has it as cat: --drop it to learn the new label"
    assert "images of DATA that keep the label of the earlier run: 1" in caplog.text

    listed = tmp_path / "worst.csv"
    listed.write_text(f"sha256\n{known.sha256}\n")
    again = extend_split(CLASSES, earlier, [tmp_path / "new"], 0, DropList.read(listed))
    assert [sample.label for sample in again.train if sample.sha256 == known.sha256] == [1]


def test_what_judged_and_is_elsewhere_now_still_judges(
    tmp_path: Path, earlier: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rehearsal, "MOST_VAL", 2)
    write_folder(tmp_path / "new", per_class=12, first_seed=500)
    write_split(tmp_path, first := extend_split(CLASSES, earlier, [tmp_path / "new"], 0))
    for sample in first.earlier_val:
        (tmp_path / "moved" / CLASSES[sample.label]).mkdir(parents=True, exist_ok=True)
        sample.path.rename(tmp_path / "moved" / CLASSES[sample.label] / sample.path.name)
    write_folder(tmp_path / "moved", per_class=12, first_seed=900)
    for seed in range(5):
        split = extend_split(CLASSES, read_split(tmp_path, CLASSES), [tmp_path / "moved"], seed)
        assert not {sample.sha256 for sample in split.train} & {sample.sha256 for sample in first.earlier_val}


def test_new_images_of_a_class_that_are_near_copies_are_learned(tmp_path: Path, earlier: Split) -> None:
    write_folder(tmp_path / "new", per_class=12, first_seed=500, kinds=["dog"])
    write_folder(tmp_path / "new", per_class=1, first_seed=500, kinds=["cat"])
    (cat,) = (tmp_path / "new" / "cat").iterdir()
    image = cv2.imread(str(cat))
    assert image is not None
    for number in range(5):
        assert cv2.imwrite(str(cat.with_name(f"burst{number}.jpg")), image, [cv2.IMWRITE_JPEG_QUALITY, 90 + number])
    split = extend_split(CLASSES, earlier, [tmp_path / "new"], 0)
    new = [sample for sample in split.train if sample.source != EARLIER]
    assert sum(sample.label == 0 for sample in new) == 6
    assert sum(sample.label == 1 for sample in split.val if sample.source != EARLIER) > 0


def test_without_new_images_of_the_classes_what_is_neither_may_be_new(tmp_path: Path, earlier: Split) -> None:
    for name in CLASSES:
        (tmp_path / "new" / name).mkdir(parents=True)
    with pytest.raises(DataError, match="nothing to learn"):
        extend_split(CLASSES, earlier, [tmp_path / "new"], 0)
    split = extend_split(CLASSES, earlier, [tmp_path / "new"], 0, may_lack=True)
    assert {sample.path for sample in split.train} == {sample.path for sample in earlier.train}
    assert {sample.path for sample in split.val} == {sample.path for sample in earlier.val}


def test_why_none_of_the_new_images_is_learned_is_said(tmp_path: Path, earlier: Split) -> None:
    for name in CLASSES:
        (tmp_path / "new" / name).mkdir(parents=True)
    for sample in earlier.val:
        write_twin(sample, tmp_path / "new")
    with pytest.raises(DataError, match=r"new images none is left .* nearly the same .*which validates"):
        extend_split(CLASSES, earlier, [tmp_path / "new"], 0)


def test_near_copies_alone_are_no_reason_to_refuse_a_round_of_neither(tmp_path: Path, earlier: Split) -> None:
    for name in CLASSES:
        (tmp_path / "new" / name).mkdir(parents=True)
    write_twin(earlier.val[0], tmp_path / "new")
    split = extend_split(CLASSES, earlier, [tmp_path / "new"], 0, may_lack=True)
    assert {sample.path for sample in split.train} == {sample.path for sample in earlier.train}
