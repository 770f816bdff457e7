from pathlib import Path

import pytest

from catsdogs_edge.errors import DataError
from catsdogs_edge.images.drawings import write_folder
from catsdogs_train.data.outliers import FEWEST, HELD_OUT, choose_exposed, exclude_held_out, find_outliers
from catsdogs_train.data.split import Sample


def test_what_is_no_image_of_neither_is_left_out_with_the_reason(rooms: Path) -> None:
    pet = rooms / "room0" / "0.png"
    (rooms / "room1" / "again.png").write_bytes((rooms / "room2" / "2.png").read_bytes())
    (rooms / "torn.jpg").write_bytes(b"\xff\xd8 nothing")
    known = Sample(pet, 0, find_outliers([rooms], [], 0)[0][0].sha256)
    outliers, left_out = find_outliers([rooms], [known], 0)
    assert len(outliers) == 29
    reasons = {item.path.name: item.reason for item in left_out}
    assert reasons.keys() == {"torn.jpg", "0.png", "2.png"}
    assert "an image of a class as well" in reasons["0.png"]
    assert "the same file as" in reasons["2.png"]
    assert {sample.label for sample in outliers} == {0, 1, 2, 3, 4}
    assert len({(sample.path.parent, sample.label) for sample in outliers}) == 6  # a folder is in one fold


def test_too_few_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        find_outliers([tmp_path / "none"], [], 0)
    with pytest.raises(DataError, match=f"0 images to read in no class, expected at least {FEWEST}"):
        find_outliers([tmp_path], [], 0)


def test_a_network_sees_all_but_a_part_often_enough(rooms: Path) -> None:
    outliers, _ = find_outliers([rooms], [], 0)
    judges = [sample for sample in outliers if sample.label == HELD_OUT]
    exposed = choose_exposed(outliers, train_count=500)
    assert len(exposed) == 50  # a tenth of the training images, however many there are of neither
    assert len(choose_exposed(outliers, train_count=60)) == 6
    assert len({sample.path.parent for sample in choose_exposed(outliers, train_count=60)}) > 1
    assert judges
    assert not set(exposed) & set(judges)
    assert len(choose_exposed(outliers, train_count=10**6)) == 8 * (len(outliers) - len(judges))
    assert choose_exposed([], train_count=500) == []
    everything = choose_exposed(outliers, train_count=60, all_of_them=True)
    assert {sample.path for sample in everything} == {sample.path for sample in exclude_held_out(outliers)}
    assert len(choose_exposed(outliers, train_count=500, all_of_them=True)) == max(50, len(everything))


@pytest.mark.parametrize(("sizes", "by_folder"), [([30, 25, 20, 5, 5, 5, 5, 5], True), ([70, 5, 5, 5, 5, 5], False)])
def test_the_part_that_judges_is_about_a_fifth(sizes: list[int], by_folder: bool, tmp_path: Path) -> None:
    for number, size in enumerate(sizes):
        write_folder(tmp_path / str(number), per_class=size, first_seed=100 * number, kinds=["room"])
    outliers, _ = find_outliers([tmp_path], [], 0)
    judges = [sample for sample in outliers if sample.label == HELD_OUT]
    assert 0.15 <= len(judges) / len(outliers) <= 0.25
    folders = {sample.path.parent for sample in judges}
    others = {sample.path.parent for sample in exclude_held_out(outliers)}
    assert folders.isdisjoint(others) == by_folder
