import contextlib
import csv
import json
from collections.abc import Iterable
from pathlib import Path

import pytest

from catsdogs_edge.classify.attempts import KILLED_TWICE
from catsdogs_edge.classify.resume import ALL_JSON_FIELDS, JSON_FIELDS, TAIL, Done, resume_csv, resume_jsonl
from catsdogs_edge.errors import OutputError
from catsdogs_edge.output.rows import CsvRows, JsonRows

COLUMNS = ["path", "label", "error"]
NAMES = ["plain.jpg", "carriage\rreturn.jpg", 'quo"te.jpg', "com,ma.jpg", "new\nline.jpg"]
NAMES += ["кот 🐈.jpg", "caf\udce9.jpg", "-dash.jpg"]


def open_rows(path: Path, *, append: bool = False, columns: list[str] = COLUMNS) -> CsvRows | JsonRows:
    is_csv = path.suffix == ".csv"
    return (
        CsvRows(path, columns, append=append)
        if is_csv
        else JsonRows(path, fields=JSON_FIELDS, known=ALL_JSON_FIELDS, append=append)
    )


def resume(path: Path, columns: list[str] = COLUMNS) -> Done:
    rows = open_rows(path, append=True, columns=columns)
    with contextlib.closing(rows):
        return resume_csv(rows, columns) if path.suffix == ".csv" else resume_jsonl(rows, "")


def write(path: Path, names: list[str]) -> None:
    rows = open_rows(path)
    rows.begin()
    for name in names:
        rows.write({"path": name, "label": 'a "label"\nof two lines', "error": None, "probability": 1, "schema": 1})
    rows.close()


@pytest.mark.parametrize(
    ("name", "tail"),
    [
        ("rows.csv", ""),
        ("rows.csv", '"half a ro'),
        ("rows.jsonl", ""),
        ("rows.jsonl", '{"pa'),
        ("rows.jsonl", '{"path": "half'),
        ("rows.jsonl", '{"path": "ha\0\0\0'),
        ("rows.jsonl", "\0" * 9),
    ],
)
def test_the_paths_that_are_there_are_skipped_and_half_a_row_is_cut_off(name: str, tail: str, tmp_path: Path) -> None:
    path = tmp_path / name
    write(path, NAMES)
    whole = path.read_bytes()
    path.write_bytes(whole + tail.encode())
    done = resume(path)
    assert path.read_bytes() == whole
    assert len(done) == len(NAMES)
    assert [name for name in [*NAMES, "other.jpg"] if Path(name) not in done] == ["other.jpg"]


def test_every_cut_leaves_whole_rows(tmp_path: Path) -> None:
    """As after a power cut at any byte."""
    path = tmp_path / "rows.csv"
    write(path, NAMES[:5])
    whole = path.read_bytes()
    header = len("path,label,error\n")
    for size in range(header, len(whole) + 1):
        path.write_bytes(whole[:size])
        try:
            done = resume(path)
        except OutputError:  # a cut behind a line end between quotes: it may be more than one row
            assert path.read_bytes() == whole[:size]
            assert size > whole.rindex(b"\n", 0, size) + 1 or whole[:size].count(b'"') % 2
            continue
        with path.open(newline="") as stream:
            rows = list(csv.reader(stream))
        assert [row[0] for row in rows[1:]] == NAMES[: len(done)]


def test_no_file_and_an_empty_file_are_a_start(tmp_path: Path) -> None:
    (tmp_path / "empty.csv").touch()
    for name in ("missing.csv", "empty.csv", "missing.jsonl"):
        assert len(resume(tmp_path / name)) == 0


@pytest.mark.parametrize(
    "content",
    [
        "path,error\nx,y\n",
        "some text\n",
        "precious",
        "path,label,error",
        "path,label,error\nx,y\n",
        'path,label,error\na,,\n"b,\nc,\nd,\n',  # a quote that is never closed
        "path,label,error\na,," + "x" * 200_000 + "\n",
        "path,label,error\na\rb,,\n",
    ],
)
def test_another_file_is_refused_and_left_alone(content: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(content.encode())
    with pytest.raises(OutputError, match="cannot be resumed"):
        resume(path)
    assert path.read_bytes() == content.encode()


@pytest.mark.parametrize("content", ["[1]\n", '{"label": "cat"}\n', "text\n", "null\n", "precious", '{"my": "file"}'])
def test_other_lines_are_refused_and_left_alone(content: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(content)
    with pytest.raises(OutputError, match="record 1 is not one of ours"):
        resume(path)
    assert path.read_text() == content


@pytest.mark.parametrize("name", ["rows.csv", "rows.jsonl"])
def test_rows_with_an_error_are_tried_again_and_go_when_there_is_another(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    columns = [*COLUMNS, "sorted_to"]

    def add(numbers: Iterable[int], failed: set[int], *, append: bool) -> None:
        rows = open_rows(path, columns=columns, append=append)
        rows.begin()
        for number in numbers:
            good = {"label": "cat", "error": None, "sorted_to": f"cat/{number}.jpg"}
            row = {"label": None, "error": "has\ngone"} if number in failed else good
            rows.write({"path": f"{number}.jpg", "probability": 1, "schema": 1, **row})
        rows.close()

    add(range(TAIL + 10), set(range(3, TAIL + 10, 10)), append=False)
    path.chmod(0o640)
    done = resume(path, columns)
    assert Path("12.jpg") in done
    assert Path("13.jpg") not in done
    assert done.has_failed("13.jpg")
    assert len(done) == TAIL + 10 - 8
    assert done.moved[-1] == (Path(f"{TAIL + 8}.jpg"), Path(f"cat/{TAIL + 8}.jpg"))
    assert path.read_bytes().count(b"gone") == 8  # their images may not be among those of this run
    add([13, 23, 33], {33}, append=True)
    again = resume(path, columns)
    assert len(again) == len(done) + 2
    assert again.has_failed("33.jpg")
    assert path.read_bytes().count(b"gone") == 6
    assert path.stat().st_mode & 0o777 == 0o640


def test_an_image_that_killed_two_runs_is_not_tried_again(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    rows = open_rows(path)
    rows.begin()
    rows.write({"path": "bomb.gif", "label": None, "error": KILLED_TWICE})
    rows.close()
    assert Path("bomb.gif") in resume(path)


def test_no_other_process_gets_the_file_while_rows_are_taken_out(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    write(path, NAMES)
    rows = open_rows(path, append=True)
    with path.open("rb") as stream:
        lines = stream.readlines()
    rows.replace(lines[:2])
    with pytest.raises(OutputError, match="being written by another process"):
        open_rows(path, append=True)
    path.unlink()
    path.write_text("of somebody else")
    with pytest.raises(OutputError, match="was removed or moved away"):
        rows.replace(lines)
    with pytest.raises(OutputError, match="was removed or moved away"):
        rows.close()
    assert path.read_text() == "of somebody else"


def test_json_lines_of_others_are_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    content = '{"schema": 1, "path": "/a", "error": "disk died"}\n{"path": "tail w'
    path.write_text(content)
    with pytest.raises(OutputError, match="without label and probability"):
        resume(path)
    assert path.read_text() == content


@pytest.mark.parametrize("tail", ["b.jpg,cat,,", "b.jpg,cat,,{folder}"])
def test_a_row_that_was_cut_in_where_it_went_is_not_whole(tail: str, tmp_path: Path) -> None:
    path, columns = tmp_path / "rows.csv", [*COLUMNS, "sorted_to"]
    path.write_text("path,label,error,sorted_to\n" + tail.format(folder=tmp_path))
    assert Path("b.jpg") not in resume(path, columns)
    assert path.read_text() == "path,label,error,sorted_to\n"


@pytest.mark.parametrize("name", ["rows.csv", "rows.jsonl"])
def test_a_last_row_that_lacks_only_its_line_end_is_kept(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    write(path, NAMES)
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    done = resume(path)
    assert len(done) == len(NAMES)
    assert path.read_bytes() == whole


def test_json_lines_of_another_model_are_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    row = {"path": "a.png", "label": "cat", "probability": 0.9, "error": None, "schema": 1, "model": "abc"}
    path.write_text(json.dumps(row) + "\n")
    for model, is_ours in (("abc", True), ("def", False)):
        rows = JsonRows(path, fields=JSON_FIELDS, known=ALL_JSON_FIELDS, append=True)
        with (
            contextlib.nullcontext() if is_ours else pytest.raises(OutputError, match="the model is abc, expected def")
        ):
            assert "a.png" in resume_jsonl(rows, model)
        rows.close()
