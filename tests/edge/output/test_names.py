from pathlib import Path

import pytest

from catsdogs_edge.output.names import FreeNames, _exchange_in_steps, rename_to_free, reserve


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


def test_where_folders_cannot_change_places_it_goes_in_steps(tmp_path: Path) -> None:
    for name in ("new", "old"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a").write_text(name)
    _exchange_in_steps(tmp_path / "new", tmp_path / "old")
    assert (tmp_path / "old" / "a").read_text() == "new"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "old"]


def test_a_name_is_taken_only_where_it_is_free(tmp_path: Path) -> None:
    for name in ("new", "taken"):
        (tmp_path / name).write_text(name)
    with pytest.raises(FileExistsError):
        rename_to_free(tmp_path / "new", tmp_path / "taken")
    (tmp_path / "link").symlink_to(tmp_path / "nothing")
    with pytest.raises(FileExistsError):
        rename_to_free(tmp_path / "new", tmp_path / "link")
    rename_to_free(tmp_path / "new", tmp_path / "free")
    names = [tmp_path / name for name in ("taken", "link", "last")]
    assert reserve(names) == tmp_path / "last"
    content = {path.name: path.read_text() for path in tmp_path.iterdir() if path.exists()}
    assert content == {"taken": "taken", "free": "new", "last": ""}
