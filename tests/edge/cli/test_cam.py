import csv
import hashlib
import json
import subprocess
from pathlib import Path

import numpy as np
import pytest

import catsdogs_edge.cli.cam
from tests.conftest import call_here
from tests.edge.conftest import BLUE, GREY, RED, plain, write_video


def cam(env: dict[str, str], *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return call_here(catsdogs_edge.cli.cam._app, "catsdogs-cam", *arguments, env=env)


def test_json_lines_on_standard_output(no_display: dict[str, str], video: Path, tiny: Path) -> None:
    done = cam(no_display, video, "--model", tiny, "--no-window")
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["label"] for row in rows] == ["cat"] * 6 + ["dog"] * 4
    assert [row["frame"] for row in rows] == list(range(10))
    assert rows[0]["probabilities"].keys() == {"cat", "dog"}
    assert rows[0]["probability"] == rows[0]["probabilities"]["cat"] > 0.99
    assert rows[0]["schema"] == 1
    assert all(row["latency_ms"] > 0 for row in rows)
    first, *_, last = done.stderr.splitlines()
    remark = "it has no familiarity score, so it cannot say 'neither'"
    assert first.endswith(f"tiny.onnx (fp32) on CPUExecutionProvider; {remark}")
    assert last.startswith("10 frames of")


def test_an_empty_room_is_neither_and_an_event_like_any_other(
    no_display: dict[str, str], familiar: Path, tmp_path: Path
) -> None:
    video = write_video(tmp_path / "room.avi", [plain(RED)] * 10 + [plain(GREY)] * 40)
    done = cam(
        no_display, video, "--model", familiar, "--no-window", "--jsonl", tmp_path / "rows.jsonl",
        "--on", "neither:500ms", f'echo "$CATSDOGS_LABEL" > {tmp_path / "event"}',
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "cannot say" not in done.stderr
    rows = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    assert [row["label"] for row in rows] == ["cat"] * 10 + ["neither"] * 40
    smoothed = [row["smoothed_label"] for row in rows]
    assert (smoothed[10], smoothed[-1]) == ("cat", "neither")
    assert smoothed == sorted(smoothed)
    assert rows[-1]["familiarity"] < 0.1
    assert rows[0]["familiarity"] > 0.9
    assert (tmp_path / "event").read_text() == "neither\n"


def test_json_lines_in_a_file_and_a_limit(no_display: dict[str, str], video: Path, tiny: Path, tmp_path: Path) -> None:
    out = tmp_path / "rows.jsonl"
    done = cam(no_display, video, "--model", tiny, "--no-window", "--jsonl", out, "--frames", "3")
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert len(out.read_text().splitlines()) == 3


def test_without_a_display_it_says_so_and_goes_on(no_display: dict[str, str], video: Path, tiny: Path) -> None:
    done = cam(no_display, video, "--model", tiny)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("No window: ") == 1
    assert len(done.stdout.splitlines()) == 10


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("97", "camera 97 cannot be opened"),
        ("missing.mp4", "no such video or image"),
        (__file__, "is not a video"),
    ],
)
def test_a_source_that_does_not_open_fails_with_one_line(
    no_display: dict[str, str], source: str, message: str, tiny: Path
) -> None:
    done = cam(no_display, source, "--model", tiny, "--no-window")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert message in line


def test_csv_has_a_column_for_each_class(no_display: dict[str, str], video: Path, tiny: Path, tmp_path: Path) -> None:
    out = tmp_path / "rows.csv"
    done = cam(no_display, video, "--model", tiny, "--no-window", "--csv", out)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    with out.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["label"] for row in rows] == ["cat"] * 6 + ["dog"] * 4
    assert rows[0]["cat"] == rows[0]["probability"]
    assert [float(row["position_s"]) for row in rows] == pytest.approx([number / 25 for number in range(10)], abs=1e-3)
    assert rows[0]["model"] == hashlib.sha256(tiny.read_bytes()).hexdigest()


def test_smoothing_waits_and_without_it_each_frame_counts(no_display: dict[str, str], video: Path, tiny: Path) -> None:
    """6 red frames and 4 blue ones are 0.4 s: too short to change a label that is averaged over 0.5 s."""
    found = {}
    for seconds in ("0.5", "0"):
        done = cam(no_display, video, "--model", tiny, "--no-window", "--smoothing", seconds)
        found[seconds] = [json.loads(line)["smoothed_label"] for line in done.stdout.splitlines()]
    assert found == {"0.5": ["cat"] * 10, "0": ["cat"] * 6 + ["dog"] * 4}


def test_images_are_not_smoothed_and_a_bad_one_is_a_row(
    no_display: dict[str, str], album: Path, tiny: Path, tmp_path: Path
) -> None:
    done = cam(no_display, album, "--model", tiny, "--no-window", "--jsonl", "-", "--save", tmp_path / "seen")
    assert done.returncode == 3
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["smoothed_label"] for row in rows] == ["cat", "dog", None, "cat"]
    assert "truncated" in rows[2]["error"]
    assert done.stderr.splitlines()[-1] == f"3 frames of {album}, 1 could not be classified"
    assert sorted(path.name for path in (tmp_path / "seen").iterdir()) == [
        "a cat-cat.jpg", "dog-dog.jpg", "кот, 'б'-cat.jpg"
    ]  # fmt: skip


def test_saved_images_do_not_overwrite_those_of_before(
    no_display: dict[str, str], video: Path, tiny: Path, tmp_path: Path
) -> None:
    for _ in range(2):
        cam(no_display, video, "--model", tiny, "--no-window", "--save", tmp_path, "--frames", "1")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["000000-cat (2).jpg", "000000-cat.jpg"]


def test_an_event_runs_a_command(no_display: dict[str, str], video: Path, tiny: Path, tmp_path: Path) -> None:
    command = f'echo "$CATSDOGS_LABEL" >> {tmp_path}/events; echo said'
    done = cam(
        no_display, video, "--model", tiny, "--no-window", "--jsonl", "-", "--smoothing", "0",
        "--on", "cat:100ms,dog:100ms", command,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "cat" in (tmp_path / "events").read_text()
    assert "said" in done.stderr
    assert (
        len([json.loads(line) for line in done.stdout.splitlines()]) == 10
    )  # what the command prints is not in between


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--on", "cat", "true"], 2, "is no event"),
        (["--on", "bird:2s", "true"], 1, "the model knows no 'bird', only cat, dog"),
        (["--raw", "640"], 2, "is no size"),
        (["--raw", "99999x99999"], 2, "expected 67108864 at most"),
        (["--raw", "64x48"], 1, "raw frames come from standard input"),
        (["--record", "x.mov"], 1, "a video's name ends with"),
        (["--smoothing", "-1"], 2, "--smoothing"),
    ],
)
def test_options_that_make_no_sense(
    options: list[str], code: int, message: str, no_display: dict[str, str], video: Path, tiny: Path
) -> None:
    done = cam(no_display, video, "--model", tiny, "--no-window", *options)
    assert done.returncode == code
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_without_a_model_it_takes_the_one_in_the_package(no_display: dict[str, str], video: Path) -> None:
    done = cam(no_display, video, "--no-window", "--jsonl", "-", "--frames", "2")
    assert done.returncode == 0, done.stderr
    assert [json.loads(line)["label"] for line in done.stdout.splitlines()] == ["neither"] * 2  # it is all red


def test_the_list_of_cameras(no_display: dict[str, str]) -> None:
    done = cam(no_display, "--list", "--json")
    listed = json.loads(done.stdout)
    assert done.returncode == (0 if any(not camera["problem"] for camera in listed) else 1)
    if not listed:
        assert cam(no_display, "--list").stdout.startswith("No camera found: ")


def test_a_video_is_not_recorded_over_itself_nor_an_old_one_lost(
    no_display: dict[str, str], video: Path, tiny: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy.avi"
    copy.write_bytes(video.read_bytes())
    done = cam(no_display, copy, "--model", tiny, "--no-window", "--record", copy)
    assert done.returncode == 1
    assert "would be written over the input" in done.stderr
    (tmp_path / "empty").mkdir()
    done = cam(no_display, tmp_path / "empty", "--model", tiny, "--no-window", "--record", copy)
    assert done.returncode == 1
    assert copy.read_bytes() == video.read_bytes()


def test_a_video_that_is_cut_short_is_exit_code_3(
    no_display: dict[str, str], pets: Path, tiny: Path, tmp_path: Path
) -> None:
    data = pets.read_bytes()
    (tmp_path / "half.avi").write_bytes(data[: len(data) // 2])
    done = cam(no_display, tmp_path / "half.avi", "--model", tiny, "--no-window")
    assert done.returncode == 3
    assert "cut short or damaged" in json.loads(done.stdout.splitlines()[-1])["error"]


def test_a_command_that_runs_long_does_not_hold_up_the_video(
    no_display: dict[str, str], video: Path, tiny: Path, tmp_path: Path
) -> None:
    out = tmp_path / "seen.mp4"
    command = f"sleep 1; cp {out} {tmp_path}/copy.mp4"  # it is whole while the command still runs
    done = cam(no_display, video, "--model", tiny, "--no-window", "--record", out, "--on", "cat:0s", command)
    assert done.returncode == 0, done.stderr
    assert out.read_bytes() == (tmp_path / "copy.mp4").read_bytes()


def test_regions_are_rows_of_their_own(no_display: dict[str, str], tiny: Path, tmp_path: Path) -> None:
    halves = np.concatenate([plain(RED, 120, 80), plain(BLUE, 120, 80)], axis=1)
    video = write_video(tmp_path / "two.avi", [halves] * 5)
    out = tmp_path / "rows.csv"
    regions = ["--crop", "left=0,0,0.5,1", "--crop", "right=80,0,80,120"]
    done = cam(no_display, video, "--model", tiny, "--no-window", "--csv", out, *regions)
    assert done.returncode == 0, done.stderr
    with out.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["frame"], row["region"], row["label"]) for row in rows[:4]] == [
        ("0", "left", "cat"), ("0", "right", "dog"), ("1", "left", "cat"), ("1", "right", "dog"),
    ]  # fmt: skip
    assert "5 frames of" in done.stderr


def test_several_sources_share_a_model_and_say_whose_a_row_is(
    no_display: dict[str, str], tiny: Path, tmp_path: Path
) -> None:
    cats = write_video(tmp_path / "cats.avi", [plain(RED, 120, 160)] * 6)
    dogs = write_video(tmp_path / "dogs.avi", [plain(BLUE, 120, 160)] * 9)
    seen = tmp_path / "events"
    done = cam(
        no_display, cats, dogs, "--model", tiny, "--no-window", "--jsonl", "-", "--visits", tmp_path / "v.csv",
        "--on", "dog:100ms", f'echo "$CATSDOGS_LABEL $CATSDOGS_SOURCE $CATSDOGS_TIME" >> {seen}',
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    for video, label, count in ((cats, "cat", 6), (dogs, "dog", 9)):
        own = [row for row in rows if row["source"] == str(video)]
        assert [row["frame"] for row in own] == list(range(count))
        assert {row["label"] for row in own} == {label}
    assert f"15 frames of {cats}, {dogs}" in done.stderr
    label, source, moment = seen.read_text().split()
    assert (label, source, moment[-6:]) == ("dog", str(dogs), "+00:00")
    with (tmp_path / "v.csv").open(newline="") as stream:
        assert {row["source"] for row in csv.DictReader(stream)} == {str(cats), str(dogs)}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["a.avi", "b.avi", "--web"], "take one source, not several"),
        (["a.avi", "b.avi", "--record", "x.mkv"], "take one source, not several"),
        (["a.avi", "a.avi"], "several sources must differ"),
        (["a.avi", "--clip-before", "5"], "go with --clips"),
        (["a.avi", "--json"], "--json goes with --list"),
        (["a.avi", "--crop", "0,0,1"], "is no region, expected"),
        (["a.avi", "--crop", "0,0,1,1", "--crop", "0,0,1,1"], "several regions need different names"),
    ],
)
def test_what_does_not_go_together_is_wrong_usage(
    options: list[str], message: str, no_display: dict[str, str], tiny: Path
) -> None:
    done = cam(no_display, *options, "--model", tiny, "--no-window")
    assert done.returncode == 2
    assert message in " ".join(done.stderr.replace("│", " ").split())


def test_frames_are_not_saved_where_they_would_be_classified(
    no_display: dict[str, str], album: Path, tiny: Path
) -> None:
    done = cam(no_display, album, "--model", tiny, "--no-window", "--save", album / "frames")
    assert done.returncode == 1
    assert "which is classified: choose another folder" in done.stderr
    assert not (album / "frames").exists()


def test_a_source_that_is_missing_beside_one_that_is_there_is_said(
    no_display: dict[str, str], tiny: Path, video: Path
) -> None:
    done = cam(no_display, video, "no.mp4", "--model", tiny, "--no-window")
    assert done.returncode == 1
    assert "no.mp4: no such video or image" in done.stderr


def test_a_still_stream_is_classified_while_something_moves(
    no_display: dict[str, str], tiny: Path, tmp_path: Path
) -> None:
    video = write_video(tmp_path / "still.avi", [plain(RED, 120, 160)] * 250)
    done = cam(no_display, video, "--model", tiny, "--no-window", "--jsonl", "-", "--motion")
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert 20 <= sum(row["label"] == "cat" for row in rows) <= 40  # for a second or so
    assert rows[-1]["moving"] is False
    assert rows[-1]["smoothed_label"] == "cat"
    assert "in which nothing moved" in done.stderr


def test_a_camera_that_is_away_at_the_start_is_lost_and_the_other_is_watched(
    no_display: dict[str, str], tiny: Path, tmp_path: Path
) -> None:
    video = write_video(tmp_path / "cats.avi", [plain(RED, 120, 160)] * 9)
    away = "rtsp://me:secret@127.0.0.1:9/live?channel=1"
    done = cam(no_display, video, away, "--model", tiny, "--no-window", "--jsonl", "-", "--frames", "9")
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["label"] for row in rows if row["source"] == str(video)] == ["cat"] * 9
    assert {row["state"] for row in rows if row["source"] != str(video)} <= {"lost", "reconnecting"}
    assert "cannot be opened" in done.stderr
    assert "secret" not in done.stdout + done.stderr


def test_where_all_cameras_are_away_the_command_fails(no_display: dict[str, str], tiny: Path) -> None:
    pair = ("rtsp://127.0.0.1:9/a", "rtsp://127.0.0.1:9/b")
    done = cam(no_display, *pair, "--model", tiny, "--no-window")
    assert done.returncode == 1
    assert "rtsp://127.0.0.1:9/a cannot be opened" in done.stderr
    assert "Traceback" not in done.stderr
