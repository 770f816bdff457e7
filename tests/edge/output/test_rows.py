"""Files of rows: whose they are, and what happens to a last row that is not whole."""

import errno
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from catsdogs_edge.cam import sinks
from catsdogs_edge.classify import resume
from catsdogs_edge.errors import OutputError
from catsdogs_edge.output.json_text import to_json
from catsdogs_edge.output.rows import CsvRows, JsonRows
from catsdogs_edge.stream import frame_result

CLASSES = ("cat", "dog")
IMAGE_COLUMNS = ["path", "label", "probability", "familiarity", *CLASSES, "error"]
IMAGE: Mapping[str, Any] = dict.fromkeys(sorted(resume.ALL_JSON_FIELDS - {"sorted_to"}))
FRAME: Mapping[str, Any] = dict.fromkeys(sorted(sinks.ALL_JSON_FIELDS))


def open_rows(kind: str, path: Path) -> CsvRows | JsonRows:
    """As `catsdogs-classify` and `catsdogs-cam` open theirs."""
    module = sinks if kind.startswith("cam") else resume
    is_cam = module is sinks
    if kind.endswith("json"):
        fields, known = module.JSON_FIELDS, module.ALL_JSON_FIELDS
        return JsonRows(path, fields=fields, known=known, append=is_cam, rotates=is_cam)
    columns = frame_result.columns(CLASSES) if is_cam else IMAGE_COLUMNS
    return CsvRows(path, columns, append=is_cam, rotates=is_cam)


HEADER = ",".join(IMAGE_COLUMNS)
SORTED = "path,label,probability,familiarity,ant,bee,wasp,error,sorted_to"


@pytest.mark.parametrize(
    ("kind", "first"),
    [
        ("classify json", to_json({**FRAME})),
        ("classify json", to_json({**IMAGE, "my_label": "cat"})),
        ("cam json", to_json({**IMAGE})),
        ("cam json", to_json({**FRAME, "checked": True})),
        ("classify csv", HEADER + ",corrected_by_me"),
        ("classify csv", "path,label,probability,familiarity,my_notes"),
        ("classify csv", ",".join(frame_result.columns(CLASSES))),
        ("cam csv", HEADER),
    ],
)
def test_rows_of_others_stay(kind: str, first: str, tmp_path: Path) -> None:
    path = tmp_path / "rows"
    path.write_text(first + "\n")
    with pytest.raises(OutputError, match="holds something else than such rows"):
        open_rows(kind, path)
    assert path.read_text() == first + "\n"


@pytest.mark.parametrize(
    ("kind", "first"),
    [
        ("classify json", to_json({**IMAGE})),
        ("classify json", to_json({**IMAGE, "sorted_to": "a"})),
        ("cam json", to_json({**FRAME})),
        ("classify csv", HEADER),
        ("classify csv", SORTED),
        ("cam csv", ",".join(frame_result.columns(CLASSES))),
    ],
)
def test_rows_of_ours_are_taken(kind: str, first: str, tmp_path: Path) -> None:
    path = tmp_path / "rows"
    path.write_text(first + "\n")
    rows = open_rows(kind, path)
    rows.begin()
    rows.close()
    assert path.read_text() == (
        first + "\n" if kind.startswith("cam") else "" if kind.endswith("json") else HEADER + "\n"
    )


@pytest.mark.parametrize("kind", ["cam json", "cam csv"])
def test_of_a_camera_s_last_row_nothing_is_lost_but_a_half(
    kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "rows"
    rows = open_rows(kind, path)
    rows.begin()
    for number in range(3):
        rows.write({**FRAME, "frame": number, "probabilities": dict.fromkeys(CLASSES, 0.5)})
    rows.close()
    whole = path.read_bytes()
    first = whole.index(b"\n")
    for end, expected in ((-1, whole), (first, whole[: first + 1]), (-20, whole[: whole.rindex(b"\n", 0, -1) + 1])):
        path.write_bytes(whole[:end])
        caplog.clear()
        again = open_rows(kind, path)
        again.begin()
        again.close()
        assert path.read_bytes() == expected
        assert ("is cut off" in caplog.text) == (end == -20)


def test_rows_that_were_emptied_meanwhile_have_a_header_again(tmp_path: Path) -> None:
    path = tmp_path / "rows"
    rows = open_rows("cam csv", path)
    rows.begin()
    row = {**FRAME, "probabilities": dict.fromkeys(CLASSES, 0.5)}
    rows.write(row)
    whole = path.read_bytes()
    os.truncate(path, 0)  # as logrotate does, with copytruncate
    rows.write(row)
    assert path.read_bytes() == whole
    rows.close()
    path.write_bytes(whole[:9])  # and a power cut right after that
    again = open_rows("cam csv", path)
    again.begin()
    again.write(row)
    again.close()
    assert path.read_bytes() == whole


def test_a_torn_first_row_of_json_keeps_no_camera_from_starting(tmp_path: Path) -> None:
    path = tmp_path / "rows"
    whole = to_json({**FRAME}) + "\n"
    path.write_text(whole[:21])
    rows = open_rows("cam json", path)
    rows.begin()
    rows.write(FRAME)
    rows.close()
    assert path.read_text() == whole
    path.write_text('{"mine": 1')
    with pytest.raises(OutputError, match="holds something else than such rows"):
        open_rows("cam json", path)


def test_a_disk_that_goes_away_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = open_rows("cam csv", tmp_path / "rows")
    rows.begin()

    def refuse(_: int) -> os.stat_result:
        raise OSError(errno.ESTALE, "Stale file handle")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fstat", refuse)
        with pytest.raises(OutputError, match="rows cannot be written: Stale file handle"):
            rows.write({**FRAME, "probabilities": dict.fromkeys(CLASSES, 0.5)})
    rows.close()


def test_rows_whose_folder_is_gone_are_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("catsdogs_edge.output.rows._SECONDS_BETWEEN_LOOKS", -1)
    path = tmp_path / "folder" / "rows"
    rows = open_rows("cam csv", path)
    rows.begin()
    path.parent.rename(tmp_path / "away")
    path.parent.touch()
    with pytest.raises(OutputError, match="cannot be written: Not a directory"):
        rows.write({**FRAME, "probabilities": dict.fromkeys(CLASSES, 0.5)})


def test_rows_that_another_file_replaced_end_before_an_image_goes(tmp_path: Path) -> None:
    path = tmp_path / "rows"
    rows = open_rows("classify csv", path)
    rows.begin()
    rows.write({"path": "a"})
    (tmp_path / "edited").write_bytes(path.read_bytes())
    (tmp_path / "edited").replace(path)  # as editors save
    with pytest.raises(OutputError, match="was removed or moved away"):
        rows.sync()
