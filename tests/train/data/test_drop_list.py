from pathlib import Path

import pytest

from catsdogs_edge.errors import DataError
from catsdogs_edge.images.drawings import write_folder
from catsdogs_train.data.drop_list import DropList
from catsdogs_train.data.split import make_split


def split(folder: Path, drop: DropList | None = None, val: Path | None = None) -> tuple[set[str], list[str]]:
    """Returns the names of the images that are used, and the reasons of those that are not."""
    made = make_split([folder], val=val, train_size=None, val_size=None, seed=0, drop=drop)
    used = {str(sample.path.relative_to(folder.parent)) for sample in (*made.train, *made.val)}
    return used, [f"{item.path.name}: {item.reason}" for item in made.quarantine]


def test_what_is_listed_by_content_or_path_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_folder(tmp_path / "pets", per_class=6)
    write_folder(tmp_path / "val", per_class=2, first_seed=50)
    cats, dogs = (sorted((tmp_path / "pets" / name).iterdir()) for name in ("cat", "dog"))
    made = make_split([tmp_path / "pets"], val=None, train_size=None, val_size=None, seed=0)
    digest = next(sample.sha256 for sample in (*made.train, *made.val) if sample.path == cats[0])
    cats[0].rename(moved := cats[0].with_name("moved.png"))
    listed = tmp_path / "worst.csv"
    listed.write_text(f"label,path,sha256\ncat,{cats[0]},{digest.upper()}\ndog,pets/dog/{dogs[1].name},\n")
    monkeypatch.chdir(tmp_path)
    drop = DropList.read(listed)
    used, left_out = split(tmp_path / "pets", drop)
    assert len(used) == 10
    assert not {f"pets/cat/{moved.name}", f"pets/dog/{dogs[1].name}"} & used
    assert sorted(left_out) == sorted([f"moved.png: listed in {listed}", f"{dogs[1].name}: listed in {listed}"])
    listed.write_text(f"path\n{next((tmp_path / 'val' / 'cat').iterdir())}\n")
    with pytest.raises(DataError, match="lists no image of DATA"):  # what is to judge by is taken as it is
        split(tmp_path / "pets", DropList.read(listed), tmp_path / "val")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("label,answer\ncat,dog\n", "has the columns label, answer, expected path or sha256"),
        ("", "has the columns none, expected path or sha256"),
    ],
)
def test_another_table_is_refused(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text(text)
    with pytest.raises(DataError, match=said):
        DropList.read(tmp_path / "list.csv")


def test_a_file_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read: No such file"):
        DropList.read(tmp_path / "list.csv")
    with pytest.raises(DataError, match="cannot be read: Is a directory"):
        DropList.read(tmp_path)


def test_lines_that_name_nothing_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_folder(tmp_path / "pets", per_class=6)
    listed = tmp_path / "worst.csv"
    listed.write_text(f"path\n{tmp_path}/pets/cat/0.png\nC:\\pets\\cat\\1.png\n{tmp_path}/none.png\n")
    used, _ = split(tmp_path / "pets", DropList.read(listed))
    assert len(used) == 11
    assert f"2 more lines of {listed} name no image of DATA" in caplog.text


def test_a_list_as_programs_on_windows_write_it_is_read(tmp_path: Path) -> None:
    listed = tmp_path / "worst.csv"
    listed.write_text("path,sha256\nküche.png,ABC\n", encoding="utf-16")
    assert DropList.read(listed).hashes == {"abc"}


def test_a_line_that_is_taken_out_drops_nothing(tmp_path: Path) -> None:
    listed = tmp_path / "worst.csv"
    listed.write_text(f"path,sha256\n#/a/cat.png,{'0' * 64}\n/b/dog.png,  \n")
    drop = DropList.read(listed)
    assert not drop.hashes
    assert drop.paths == {Path("/b/dog.png")}
