from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from catsdogs_edge.drawings import write_folder
from catsdogs_edge.errors import DataError
from catsdogs_train.dataset import Sample, Split, make_split


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("drawn")
    write_folder(folder, per_class=20)
    return folder


def split(
    data: Path, *, val: Path | None = None, train_size: int | None = None, val_size: int | None = None, seed: int = 0
) -> Split:
    return make_split(data, val=val, train_size=train_size, val_size=val_size, seed=seed)


def shares(samples: Sequence[Sample]) -> list[int]:
    """How many there are of each class, fewest first."""
    return sorted(Counter(sample.label for sample in samples).values())


def test_a_fifth_is_kept_back_in_equal_shares(drawn: Path) -> None:
    result = split(drawn)
    assert result.classes == ("cat", "dog")
    assert (shares(result.train), shares(result.val)) == ([16, 16], [4, 4])
    assert not {sample.path for sample in result.train} & {sample.path for sample in result.val}
    assert all(result.classes[sample.label] == sample.path.parent.name for sample in result.train)


def test_sizes_are_taken_at_their_word(drawn: Path) -> None:
    result = split(drawn, train_size=10, val_size=5)
    assert shares(result.train) == [5, 5]
    assert shares(result.val) == [2, 3]


def test_a_folder_of_its_own_to_validate_on(drawn: Path, tmp_path: Path) -> None:
    write_folder(tmp_path, per_class=3, first_seed=100)
    result = split(drawn, val=tmp_path, val_size=4)
    assert shares(result.train) == [20, 20]
    assert shares(result.val) == [2, 2]
    assert all(tmp_path in sample.path.parents for sample in result.val)


def test_a_seed_gives_one_split(drawn: Path) -> None:
    assert split(drawn, train_size=10, seed=3) == split(drawn, train_size=10, seed=3)
    assert split(drawn, train_size=10, seed=3) != split(drawn, train_size=10, seed=4)


def test_what_cannot_be_read_is_left_out_and_named(tmp_path: Path) -> None:
    write_folder(tmp_path, per_class=5)
    (tmp_path / "cat" / "empty.jpg").touch()
    result = split(tmp_path)
    assert result.unreadable == ((tmp_path / "cat" / "empty.jpg", "empty file"),)
    assert len(result.train) + len(result.val) == 10


def test_data_that_cannot_be_used_is_refused(drawn: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        split(tmp_path / "missing")
    (tmp_path / "cat").mkdir()
    with pytest.raises(DataError, match="expected two or more"):
        split(tmp_path)
    (tmp_path / "dog").mkdir()
    with pytest.raises(DataError, match="cat holds no readable picture"):
        split(tmp_path)
    with pytest.raises(DataError, match="33 pictures were asked for"):
        split(drawn, train_size=33)
    with pytest.raises(DataError, match=r"40 pictures are in .* and in .*/cat/0\.png"):
        split(drawn, val=drawn)
    with pytest.raises(DataError, match="no training picture of class 'dog'"):
        split(drawn, train_size=1)
    write_folder(tmp_path, per_class=1)
    (tmp_path / "dog").rename(tmp_path / "hound")
    with pytest.raises(DataError, match="expected \\(cat, dog\\)"):
        split(drawn, val=tmp_path)
