import errno
import io
import json
import os
import signal
import subprocess
import sys
import time
from base64 import b64encode
from pathlib import Path

import pytest

from catsdogs_edge.capture.frames import iso_time
from catsdogs_edge.collection.folder import find_collected, read_seen
from catsdogs_edge.collection.review import DELETE, JOURNAL, UNSURE, Review
from catsdogs_edge.errors import DataError, OutputError
from catsdogs_edge.output.files import write_all
from tests.edge.conftest import RED, encode, plain
from tests.processes import ending

CLASSES = ("cat", "dog")
START = 1_795_764_600  # seconds since 1970


def collect(folder: Path, count: int = 6, *, first: int = 0, source: str = "") -> list[str]:
    """Writes so many images with their rows, ten seconds apart; returns their names."""
    folder.mkdir(exist_ok=True)
    names = []
    for number in range(first, first + count):
        path = folder / f"20261127-0730{number:02}-{source}cat-{number}.jpg"
        path.write_bytes(encode(plain(RED, 12, 16), ".jpg"))
        row = {
            "time": iso_time(START + 5 * number),
            "label": "cat",
            "probability": 0.9,
            "reason": "lot",
            "source": source,
        }
        path.with_suffix(".json").write_text(json.dumps(row))
        names.append(path.name)
    return names


def open_review(folder: Path) -> Review:
    return Review(folder, CLASSES, folder / "labelled")


def files(folder: Path) -> set[str]:
    """Images that lie in a folder, and their rows; those of confirmed ones apart."""
    found = {str(path.relative_to(folder)) for path in folder.rglob("*.*") if path.is_file()}
    return {name for name in found if name.endswith((".jpg", ".json")) and not name.startswith("rows")}


def test_nothing_moves_before_it_is_confirmed(tmp_path: Path) -> None:
    names = collect(tmp_path)
    before = files(tmp_path)
    review = open_review(tmp_path)
    review.say(names[:2], "cat")
    review.say(names[2:3], "neither")
    review.say(names[3:4], DELETE)
    review.say(names[4:5], UNSURE)
    assert files(tmp_path) == before
    done = review.confirm()
    assert (done.moved, done.deleted, done.gone) == ({"cat": 2, "neither": 1}, 1, 0)
    assert files(tmp_path / "labelled") == {*(f"classes/cat/{name}" for name in names[:2]), f"other/{names[2]}"}
    assert (tmp_path / "labelled" / "classes" / "dog").is_dir()
    rows = [json.loads(path.read_text()) for path in (tmp_path / "labelled" / "rows").iterdir()]
    assert [row["reason"] for row in rows] == ["lot"] * 3
    left = [item.path.name for burst in review.bursts() for item in burst]
    assert left == names[4:]
    assert review.label_of(names[4]) == UNSURE
    review.close()
    assert {path.suffix for path in tmp_path.glob("[!.]*.*")} == {".jpg", ".json", ".jsonl"}
    assert len(list(tmp_path.glob("*.json"))) == 2


def test_labels_are_there_again_and_the_last_word_counts(tmp_path: Path) -> None:
    names = collect(tmp_path, 3)
    review = open_review(tmp_path)
    review.say(names, "cat")
    review.say(names[:1], "dog")
    review.say(names[1:2], None)
    with pytest.raises(OutputError, match="is being written by another process"):
        open_review(tmp_path)
    review.close()
    again = open_review(tmp_path)
    assert [again.label_of(name) for name in names] == ["dog", None, "cat"]


def test_a_torn_line_says_nothing(tmp_path: Path) -> None:
    names = collect(tmp_path, 2)
    review = open_review(tmp_path)
    review.say(names[:1], "cat")
    review.close()
    with (tmp_path / JOURNAL).open("a") as stream:
        stream.write('{"name": "2026')
    again = open_review(tmp_path)
    assert [again.label_of(name) for name in names] == ["cat", None]
    again.say(names[1:], "dog")
    again.close()
    assert open_review(tmp_path).label_of(names[1]) == "dog"


def test_bursts_are_of_one_place_and_one_time_the_newest_first(tmp_path: Path) -> None:
    early = collect(tmp_path, 2)
    garden = collect(tmp_path, 2, source="garden-")
    late = collect(tmp_path, 2, first=9)
    bursts = [[item.path.name for item in burst] for burst in open_review(tmp_path).bursts()]
    assert bursts[0] == late
    assert sorted(bursts[1:]) == sorted([early, garden])


def test_an_image_that_has_made_room_is_counted_and_the_rest_goes_on(tmp_path: Path) -> None:
    names = collect(tmp_path, 3)
    review = open_review(tmp_path)
    review.say(names, "dog")
    (tmp_path / names[1]).unlink()
    done = review.confirm()
    assert (done.moved, done.gone) == ({"dog": 2}, 1)


def test_an_image_that_makes_room_meanwhile_is_counted_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = collect(tmp_path, 3)
    review = open_review(tmp_path)
    review.say(names, "dog")
    there = list(find_collected(tmp_path))
    (tmp_path / names[1]).unlink()
    (tmp_path / names[2]).with_suffix(".json").unlink()
    monkeypatch.setattr("catsdogs_edge.collection.review.find_collected", lambda _: there)
    done = review.confirm()
    assert (done.moved, done.gone) == ({"dog": 2}, 1)
    assert {path.name for path in (tmp_path / "labelled" / "classes").rglob("*.jpg")} == {names[0], names[2]}
    assert (tmp_path / JOURNAL).read_text() == ""


def test_after_a_torn_line_and_a_review_no_line_is_empty(tmp_path: Path) -> None:
    names = collect(tmp_path, 2)
    (tmp_path / JOURNAL).write_text('{"name": ')
    review = open_review(tmp_path)
    assert review.confirm().moved == {}
    review.say(names, UNSURE)
    assert [json.loads(line)["name"] for line in (tmp_path / JOURNAL).read_text().splitlines()] == names


def test_a_journal_that_is_a_link_is_refused(tmp_path: Path) -> None:
    collect(tmp_path, 1)
    (tmp_path / JOURNAL).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OutputError, match="is a link"):
        open_review(tmp_path)


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    for _ in range(2):
        names = collect(tmp_path, 1)
        review = open_review(tmp_path)
        review.say(names, "cat")
        review.confirm()
        review.close()
    assert len(list((tmp_path / "labelled" / "classes" / "cat").iterdir())) == 2


def test_only_images_of_the_folder_are_shown(tmp_path: Path) -> None:
    folder = tmp_path / "collected"
    (name,) = collect(folder, 1)
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    (tmp_path / "secret.json").write_text("{}")
    review = open_review(folder)
    assert review.path_of(name) == folder / name
    for other in ("../secret.jpg", "..", "", "labels.jsonl", f"labelled/{name}", "missing.jpg"):
        assert review.path_of(other) is None


def test_what_is_no_label_and_what_is_no_folder(tmp_path: Path) -> None:
    (name,) = collect(tmp_path, 1)
    with pytest.raises(ValueError, match="'horse' is no label, expected one of cat, dog, neither"):
        open_review(tmp_path).say([name], "horse")
    with pytest.raises(DataError, match="no such folder, expected one of catsdogs-cam --collect"):
        open_review(tmp_path / "missing")


def test_a_row_that_is_damaged_is_left_out(tmp_path: Path) -> None:
    names = collect(tmp_path, 2)
    (tmp_path / names[0]).with_suffix(".json").write_text("{")
    assert [item.path.name for burst in open_review(tmp_path).bursts() for item in burst] == names[1:]


CONFIRM = """
import sys
from pathlib import Path
from tests.edge.collection.test_review import open_review
review = open_review(Path(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
review.confirm()
"""


@pytest.mark.parametrize("wait", [0.0, 0.003, 0.01, 0.03])
def test_kill_9_loses_no_label_and_no_image(wait: float, tmp_path: Path) -> None:
    names = [name for start in (0, 12, 24, 36) for name in collect(tmp_path, 11, first=start, source=f"{start}-")]
    review = open_review(tmp_path)
    review.say(names[:30], "cat")
    review.say(names[30:], "neither")
    review.close()
    root = Path(__file__).resolve().parents[3]
    command = [sys.executable, "-c", CONFIRM, str(tmp_path)]
    with ending(subprocess.Popen(command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE)) as process:
        assert process.stdout
        assert process.stdin
        assert process.stdout.readline() == b"ready\n"
        process.stdin.write(b"\n")
        process.stdin.flush()
        time.sleep(wait)
        os.kill(process.pid, signal.SIGKILL)
    again = open_review(tmp_path)
    still = {item.path.name for burst in again.bursts() for item in burst}
    assert all(again.label_of(name) == ("cat" if name in names[:30] else "neither") for name in still)
    again.confirm()
    assert {Path(name).name for name in files(tmp_path / "labelled")} == set(names)
    assert len(list((tmp_path / "labelled" / "classes" / "cat").iterdir())) == 30


def test_a_full_disk_tears_no_later_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = collect(tmp_path, 2)
    review = open_review(tmp_path)

    def half(file: io.FileIO, data: bytes) -> None:
        file.write(data[:10])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("catsdogs_edge.collection.review.write_all", half)
    with pytest.raises(OutputError, match="No space left"):
        review.say(names[:1], "cat")
    monkeypatch.setattr("catsdogs_edge.collection.review.write_all", write_all)
    review.say(names[1:], "dog")
    review.close()
    again = open_review(tmp_path)
    assert [again.label_of(name) for name in names] == [None, "dog"]


def test_labels_of_another_model_are_not_lost(tmp_path: Path) -> None:
    names = collect(tmp_path, 1)
    review = Review(tmp_path, ("fox", "hen"), tmp_path / "labelled")
    review.say(names, "fox")
    review.close()
    with pytest.raises(DataError, match="has the labels fox, which this model does not know"):
        open_review(tmp_path)
    assert "fox" in (tmp_path / JOURNAL).read_text()


def test_what_went_is_not_collected_again(tmp_path: Path) -> None:
    names = collect(tmp_path, 2)
    for name, level in zip(names, (10, 200), strict=True):
        path = (tmp_path / name).with_suffix(".json")
        small = b64encode(bytes([level]) * 768).decode()
        path.write_text(json.dumps(json.loads(path.read_text()) | {"thumbnail": small}))
    review = open_review(tmp_path)
    review.say(names[:1], DELETE)
    review.confirm()
    review.close()
    assert sorted(set(read_seen(tmp_path))) == [bytes([level]) * 768 for level in (10, 200)]


def test_two_images_of_one_name_keep_a_row_each(tmp_path: Path) -> None:
    for camera, label in (("one", "cat"), ("two", "dog")):
        names = collect(tmp_path / camera, 1)
        review = Review(tmp_path / camera, CLASSES, tmp_path / "labelled")
        review.say(names, label)
        review.confirm()
    images = {path.stem for path in (tmp_path / "labelled" / "classes").rglob("*.jpg")}
    assert len(images) == 2
    assert {path.stem for path in (tmp_path / "labelled" / "rows").iterdir()} == images


@pytest.mark.parametrize("row", ['{"probability": NaN}', "[" * 100_000])
def test_a_row_that_no_page_can_show_is_left_out(row: str, tmp_path: Path) -> None:
    names = collect(tmp_path, 2)
    path = tmp_path / Path(names[0]).with_suffix(".json")
    path.write_text(row.replace("{", path.read_text()[:-1] + ", ") if row.startswith("{") else row)
    assert [item.path.name for item in find_collected(tmp_path)] == names[1:]


def test_too_long_a_name_is_no_image(tmp_path: Path) -> None:
    collect(tmp_path, 1)
    assert open_review(tmp_path).path_of(f"{'z' * 300}.jpg") is None


@pytest.mark.parametrize(
    "line", ['{"name": "a.jpg", "label": 5}', '{"name": "a.jpg", "label": ["cat"]}', "[" * 100_000]
)
def test_a_line_that_is_no_label_is_passed_over(line: str, tmp_path: Path) -> None:
    (tmp_path / "labels.jsonl").write_text(line + "\n")
    Review(tmp_path, ["cat", "dog"], tmp_path / "out")


def test_what_is_no_image_gets_no_label(tmp_path: Path) -> None:
    review = Review(tmp_path, ["cat", "dog"], tmp_path / "out")
    review.say(["gone.jpg", "../other.jpg"], "cat")
    assert review.label_of("gone.jpg") is None
    assert (tmp_path / "labels.jsonl").read_bytes() == b""


def test_what_was_moved_before_an_error_has_not_gone(tmp_path: Path) -> None:
    names = collect(tmp_path, 3)
    out = tmp_path / "labelled"
    (out / "classes").mkdir(parents=True)
    (out / "classes" / "dog").touch()  # in the way of its folder
    review = open_review(tmp_path)
    review.say(names[:1], DELETE)
    review.say(names[1:], "dog")
    with pytest.raises(OutputError):
        review.confirm()
    (out / "classes" / "dog").unlink()
    done = review.confirm()
    assert (done.moved, done.deleted, done.gone) == ({"dog": 2}, 0, 0)


def test_an_image_whose_row_cannot_follow_has_not_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = collect(tmp_path, 2)
    review = open_review(tmp_path)
    review.say(names, "dog")

    def fail(source: Path, target: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(OutputError):
        patch.setattr("catsdogs_edge.collection.review.put_in_place", fail)
        review.confirm()
    done = review.confirm()
    assert (done.moved, done.gone) == ({"dog": 1}, 0)
    assert len(list((tmp_path / "labelled" / "classes" / "dog").iterdir())) == 2


def test_a_label_of_an_image_without_its_row_goes(tmp_path: Path) -> None:
    names = collect(tmp_path, 2)
    review = open_review(tmp_path)
    review.say(names, "dog")
    (tmp_path / names[0]).with_suffix(".json").unlink()
    assert review.confirm().gone == 1
    assert review.confirm().gone == 0
