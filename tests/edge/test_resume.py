import csv
from pathlib import Path

import pytest

from catsdogs_edge.errors import OutputError
from catsdogs_edge.resume import resume_csv, resume_jsonl, skip_done
from catsdogs_edge.rows import open_csv, open_jsonl

COLUMNS = ["path", "error"]
NAMES = ["plain.jpg", 'quo"te.jpg', "com,ma.jpg", "new\nline.jpg", "кот 🐈.jpg", "caf\udce9.jpg", "-dash.jpg"]


def write(path: Path, names: list[str]) -> None:
    rows = open_csv(path, COLUMNS) if path.suffix == ".csv" else open_jsonl(path)
    for name in names:
        rows.write({"path": name, "error": 'a "reason"\nof two lines'})
    rows.close()


@pytest.mark.parametrize("name", ["rows.csv", "rows.jsonl"])
@pytest.mark.parametrize("tail", ["", '"half a ro', '{"path": "half'])
def test_the_paths_that_are_there_are_skipped_and_half_a_row_is_cut_off(name: str, tail: str, tmp_path: Path) -> None:
    path = tmp_path / name
    write(path, NAMES)
    whole = path.read_bytes()
    path.write_bytes(whole + tail.encode())
    done = resume_csv(path, COLUMNS) if name.endswith("csv") else resume_jsonl(path)
    assert path.read_bytes() == whole
    assert len(done) == len(NAMES)
    assert list(skip_done(map(Path, [*NAMES, "other.jpg"]), done)) == [Path("other.jpg")]


def test_every_cut_leaves_whole_rows(tmp_path: Path) -> None:
    """As after a power cut at any byte."""
    path = tmp_path / "rows.csv"
    write(path, NAMES[:4])
    whole = path.read_bytes()
    header = len("path,error\n")
    for size in range(header, len(whole) + 1):
        path.write_bytes(whole[:size])
        done = resume_csv(path, COLUMNS)
        with path.open(newline="") as stream:
            rows = list(csv.reader(stream))
        assert [row[0] for row in rows[1:]] == NAMES[: len(done)]


def test_no_file_and_an_empty_file_are_a_start(tmp_path: Path) -> None:
    (tmp_path / "empty.csv").touch()
    for name in ("missing.csv", "empty.csv"):
        assert len(resume_csv(tmp_path / name, COLUMNS)) == 0
    assert len(resume_jsonl(tmp_path / "missing.jsonl")) == 0


@pytest.mark.parametrize("content", ["path,label\nx,y\n", "some text\n", "path,error\nx,y,z\n"])
def test_another_file_is_refused_and_left_alone(content: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(content)
    with pytest.raises(OutputError, match="cannot be resumed"):
        resume_csv(path, COLUMNS)
    assert path.read_text() == content


@pytest.mark.parametrize("content", ["[1]\n", '{"label": "cat"}\n', "text\n", "null\n"])
def test_other_lines_are_refused_and_left_alone(content: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(content)
    with pytest.raises(OutputError, match="record 1 is not one of ours"):
        resume_jsonl(path)
    assert path.read_text() == content
