import csv
import os
import subprocess
from pathlib import Path

import pytest
from tests.edge.conftest import RED, encode, plain

from catsdogs_edge.drawings import write_folder


class Command:
    """Runs `catsdogs-classify` as a user does."""

    def __init__(self, script: Path) -> None:
        self._script = script

    def __call__(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self._script, *arguments],
            capture_output=True,
            text=True,
            check=False,
            env=os.environ | {"COLUMNS": "120"},
        )


def unwrapped(table: str) -> str:
    """Joins the lines into which a long path was folded."""
    return "".join(line.strip() for line in table.splitlines())


@pytest.fixture(scope="session")
def classify(scripts: Path) -> Command:
    return Command(scripts / "catsdogs-classify")


def test_csv_has_a_row_for_each_picture(classify: Command, album: Path, tiny: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "rows.csv"
    done = classify(album, "--model", tiny, "--csv", out)
    assert done.returncode == 3
    assert done.stdout == ""
    assert "4 pictures: 2 cat, 1 dog, 1 could not be classified" in done.stderr
    assert "CPUExecutionProvider" in done.stderr
    with out.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert list(rows[0]) == ["path", "label", "probability", "cat", "dog", "error"]
    assert [Path(row["path"]).name for row in rows] == ["a cat.png", "dog.JPG", "torn.jpg", "кот, 'б'.jpg"]
    assert [row["label"] for row in rows] == ["cat", "dog", "", "cat"]
    assert [bool(row["error"]) for row in rows] == [False, False, True, False]
    assert rows[1]["probability"] == rows[1]["dog"]
    assert float(rows[0]["cat"]) + float(rows[0]["dog"]) == pytest.approx(1, abs=2e-6)  # six decimals


def test_csv_goes_to_standard_output(classify: Command, album: Path, tiny: Path) -> None:
    done = classify(album / "a cat.png", "--model", tiny, "--csv", "-")
    assert done.returncode == 0
    header, row = done.stdout.splitlines()
    assert header == "path,label,probability,cat,dog,error"
    assert row.startswith(f"{album}/a cat.png,cat,1.000000,")


def test_table(classify: Command, album: Path, tiny: Path) -> None:
    done = classify(album / "a cat.png", album / "torn.jpg", "--model", tiny)
    assert done.returncode == 3
    assert "a cat.png" in unwrapped(done.stdout)
    assert "truncated JPEG" in unwrapped(done.stdout)


def test_brackets_in_a_name_are_no_markup(classify: Command, tmp_path: Path, tiny: Path) -> None:
    (tmp_path / "[red]x[ops].png").write_bytes(encode(plain(RED)))
    done = classify(tmp_path, "--model", tiny)
    assert "[red]x[ops].png" in unwrapped(done.stdout)


@pytest.mark.parametrize("what", ["missing.jpg", "empty"])
def test_nothing_to_classify_is_a_failure(what: str, classify: Command, tmp_path: Path, tiny: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = classify(tmp_path / what, "--model", tiny)
    assert done.returncode == 1
    assert "0 cat" not in done.stderr


def test_cuda_where_there_is_none_fails_with_one_line(classify: Command, album: Path, tiny: Path) -> None:
    done = classify(album, "--model", tiny, "--provider", "cuda")
    assert done.returncode == 1
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("catsdogs-classify: CUDAExecutionProvider")
    assert "edge-cuda" in line or "driver" in line


def test_a_wrong_model_fails_with_one_line(classify: Command, album: Path) -> None:
    done = classify(album, "--model", album / "notes.txt")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "notes.txt is not a model" in line


def test_a_csv_that_cannot_be_written_fails_with_one_line(classify: Command, album: Path, tiny: Path) -> None:
    done = classify(album, "--model", tiny, "--csv", album / "notes.txt" / "x.csv")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "cannot be written" in line


def test_wrong_usage_is_exit_code_2(classify: Command, album: Path, tiny: Path) -> None:
    assert classify(album).returncode == 2
    assert classify(album, "--model", tiny, "--provider", "abacus").returncode == 2


def test_a_real_folder_of_drawings(classify: Command, tiny: Path, tmp_path: Path) -> None:
    write_folder(tmp_path / "pictures", per_class=3)
    done = classify(tmp_path / "pictures", "--model", tiny)
    assert done.returncode == 0
    assert "6 pictures" in done.stderr
