from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from catsdogs_edge.errors import DataError
from catsdogs_train.data.split import Sample, Split
from catsdogs_train.run.tables import check_not_learned, is_network_of_run, read_sides, read_split, write_split

CLASSES = ("cat", "dog")


@pytest.fixture
def split(tmp_path: Path) -> Split:
    samples = [Sample(tmp_path / f"{number}.png", number % 2, f"{number:064x}", "a folder") for number in range(8)]
    return Split(CLASSES, tuple(samples[:4]), tuple(samples[4:6]), ())


def test_what_is_written_is_read(tmp_path: Path, split: Split) -> None:
    odd = replace(split.train[0], path=tmp_path / 'a\rb,\n"c.png')
    split = replace(split, train=(odd, *split.train[1:]))
    write_split(tmp_path, split)
    assert read_split(tmp_path, CLASSES) == split
    assert not (tmp_path / "aside.csv").exists()


def test_what_was_put_aside_is_read_too(tmp_path: Path, split: Split) -> None:
    split = replace(
        split, earlier_train=split.train[2:], earlier_val=split.val[1:], train=split.train[:2], val=split.val[:1]
    )
    write_split(tmp_path, split)
    assert read_split(tmp_path, CLASSES) == split


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda text: text.replace("train,cat", "train,fox"), "an image of another class, fox"),
        (lambda text: text.replace("val,", "vol,"), "is damaged"),
        (lambda text: text.replace(",sha256", ",hash"), "is damaged"),
        (lambda text: text + "train,cat\n", "is damaged"),
        (lambda _: None, "No such file"),
    ],
)
def test_a_damaged_table_is_one_line(
    tmp_path: Path, split: Split, damage: Callable[[str], str | None], message: str
) -> None:
    write_split(tmp_path, split)
    file = tmp_path / "split.csv"
    text = damage(file.read_text())
    file.unlink() if text is None else file.write_text(text)
    with pytest.raises(DataError, match=message):
        read_split(tmp_path, CLASSES)


@pytest.mark.parametrize("part", ["train", "learned", "seen"])
def test_a_network_is_not_judged_by_what_it_learned(tmp_path: Path, split: Split, part: str) -> None:
    """Also where a run on the way did not take that along."""
    own = {sample.sha256: sample for sample in split.train}
    split = replace(
        split, train=split.train[:2], earlier_train=split.train[2:3], learned_hashes=frozenset([split.train[3].sha256])
    )
    write_split(tmp_path, split)
    assert read_split(tmp_path, CLASSES) == split
    learned = read_sides(tmp_path).learned
    check_not_learned("--weights", tmp_path, learned, split.val)
    chosen = {"train": split.train[0], "learned": split.earlier_train[0], "seen": own[min(split.learned_hashes)]}[part]
    with pytest.raises(DataError, match=r"learned from 1 of the 3 images of --val: leave them out of it"):
        check_not_learned("--weights", tmp_path, learned, [*split.val, chosen])


def test_only_the_network_in_a_run_folder_tells_what_it_learned(tmp_path: Path, split: Split) -> None:
    for file in ("imagenet", "model.weights.h5", "model.keras"):
        assert not is_network_of_run(tmp_path / file)
    write_split(tmp_path, split)
    assert not is_network_of_run(tmp_path / "model.keras")  # any table may be called so
    (tmp_path / "run.json").write_text("{}")
    assert is_network_of_run(tmp_path / "model.keras")
    assert not is_network_of_run(tmp_path / "imagenet")


@pytest.mark.parametrize(
    "content", ["", "set,label,path,sha256,source\n", "set,label,path,sha256,source\ntrain,cat,a\0,x,\n"]
)
def test_a_table_that_lost_its_rows_is_damaged(content: str, tmp_path: Path) -> None:
    """Else what the run learned would be forgotten without a word."""
    (tmp_path / "split.csv").write_text(content)
    with pytest.raises(DataError, match=r"split\.csv (is damaged|cannot be read)"):
        read_sides(tmp_path)
