import os
import re
from collections import Counter
from pathlib import Path

import pytest

from catsdogs_edge.errors import DataError, OutputError
from catsdogs_edge.images.discovery import check_apart, find_images, read_list


def names(sources: list[str | Path], root: Path, *, null: bool = False) -> list[str]:
    return [os.path.relpath(path, root) for path in find_images(sources, null=null)]


def test_patterns_are_sorted_and_go_into_folders(album: Path) -> None:
    assert names([f"{album}/**/*.jpg"], album) == ["sub/кот, 'б'.jpg", "torn.jpg"]


def test_a_pattern_without_a_match_is_given_back(tmp_path: Path) -> None:
    assert names([f"{tmp_path}/*.jpg"], tmp_path) == ["*.jpg"]


def test_lists_of_lines_and_of_nul_bytes(album: Path, tmp_path: Path) -> None:
    odd = album / "two\nlines.png"
    odd.write_bytes((album / "a cat.png").read_bytes())
    lines, nul = tmp_path / "lines", tmp_path / "nul"
    lines.write_bytes(f"{album}/a cat.png\r\n\n{album}/sub".encode())
    nul.write_bytes(f"{odd}\0{album}/dog.JPG\0".encode())
    assert names([f"@{lines}"], album) == ["a cat.png", "sub/кот, 'б'.jpg"]
    assert names([f"@{nul}"], album, null=True) == ["two\nlines.png", "dog.JPG"]


def test_nul_bytes_where_lines_are_expected_are_said(tmp_path: Path) -> None:
    (tmp_path / "names").write_bytes(b"a\0b\0")
    with pytest.raises(DataError, match="add --null"):
        names([f"@{tmp_path}/names"], tmp_path)


def test_a_list_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read: No such file"):
        names([f"@{tmp_path}/missing"], tmp_path)


def test_a_folder_can_be_left_out(album: Path) -> None:
    found = list(find_images([album], without=album / "sub"))
    assert [path.name for path in found] == ["a cat.png", "dog.JPG", "torn.jpg"]


def test_a_folder_that_is_named_like_an_image_is_given_back_and_searched(album: Path) -> None:
    (album / "z.jpg").mkdir()
    (album / "z.jpg" / "x.png").write_bytes((album / "a cat.png").read_bytes())
    assert [name for name in names([album], album) if name.startswith("z")] == ["z.jpg", "z.jpg/x.png"]


def test_a_folder_whose_name_looks_like_a_pattern_is_a_folder(tmp_path: Path) -> None:
    (tmp_path / "trip[2024]").mkdir()
    (tmp_path / "trip[2024]" / "a.jpg").touch()
    assert list(find_images([f"{tmp_path}/trip[2024]/*.jpg"])) == [tmp_path / "trip[2024]" / "a.jpg"]


def test_what_is_left_out_is_counted_and_jfif_is_an_image(tmp_path: Path) -> None:
    for name in ("a.jfif", "b.heic", "c.HEIC", "d.txt", ".hidden"):
        (tmp_path / name).touch()
    left_out: Counter[str] = Counter()
    assert list(find_images([tmp_path], left_out=left_out)) == [tmp_path / "a.jfif"]
    assert left_out == {".heic": 2, ".txt": 1}


def test_a_line_without_end_in_a_list_is_refused(tmp_path: Path) -> None:
    (tmp_path / "names").write_bytes(b"x" * 300_000)
    with pytest.raises(DataError, match="a line of more than 65536 bytes"):
        list(read_list(f"@{tmp_path / 'names'}"))


def test_what_a_pattern_finds_twice_is_given_back_once(album: Path) -> None:
    assert names([f"{album}/**"], album) == names([album], album)


def test_what_is_named_is_taken_though_we_are_in_the_folder_to_sort_into(
    album: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "list").write_text("sub\ntorn.jpg\n")
    monkeypatch.chdir(album)
    found = find_images(["*.jpg", f"@{tmp_path}/list"], without=album)
    assert [path.name for path in found] == ["torn.jpg", "кот, 'б'.jpg", "torn.jpg"]


@pytest.mark.parametrize(
    ("source", "folder", "found"),
    [
        ("photos", "photos/maps", True),
        ("photos", "maps", False),
        ("*", "maps", True),
        ("./*", "maps/inner", True),
        ("photos/*.png", "photos/maps", False),
        ("photos/**/*.png", "photos/maps", True),
        ("photos/**/*.png", "maps", False),
        ("photos/0.png", "photos/maps", False),
        ("photos/*.jpg", "photos", True),
        ("*/*.jpg", "maps", True),
        ("*.jpg", ".", True),
        ("trip [1]/*", "trip [1]/maps", True),
        ("trip [1]/*.jpg", "trip 1", False),
    ],
)
def test_a_place_to_write_to_is_apart_from_what_is_searched(
    source: str, folder: str, found: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "0.png").touch()
    (tmp_path / "trip [1]").mkdir()
    if not found:
        check_apart("--maps", Path(folder), [source])
        return
    with pytest.raises(OutputError, match=re.escape(f"--maps {folder} lies in")):
        check_apart("--maps", Path(folder), [source])
