import csv
import json
import re
import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest

from catsdogs_edge.cam.visits import COLUMNS, Visits
from catsdogs_edge.capture.frames import Frame, State
from catsdogs_edge.errors import DataError, OutputError
from catsdogs_edge.model.prediction import Prediction
from catsdogs_edge.stream.frame_result import FrameResult
from catsdogs_edge.stream.regions import Region
from catsdogs_edge.stream.smoothing import SmoothedPrediction
from tests.edge.conftest import BLUE, GREY, RED, plain, write_video
from tests.processes import ending

FLAP, BOWL = Region.parse_all(["flap=0,0,0.5,1", "bowl=0.5,0,0.5,1"])


def seen(label: str, second: float, probability: float = 0.9, region: Region | None = None) -> FrameResult:
    return FrameResult(
        frame=Frame(number=0, rgb=None, position=second, time=1000 + second),
        prediction=Prediction(label, probability, {"cat": probability, "dog": 1 - probability}),
        smoothed=SmoothedPrediction(label, 0.8),
        fps=10.0,
        region=region,
    )


def lost(second: float) -> FrameResult:
    return FrameResult(frame=Frame(number=0, rgb=None, state=State.LOST, position=second, error="gone"), fps=0)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_a_visit_is_a_stretch_of_one_label(tmp_path: Path) -> None:
    path = tmp_path / "visits.csv"
    visits = Visits("camera 0", path)
    for second, label in enumerate(["neither", "cat", "cat", "cat", "neither", "neither", "dog", "dog"]):
        visits.write(seen(label, second, 0.7 + second / 100))
    assert len(rows(path)) == 1  # the dog is still there
    visits.close()
    cat, dog = rows(path)
    assert tuple(cat) == COLUMNS
    assert (cat["label"], cat["start_s"], cat["end_s"], cat["seconds"], cat["frames"]) == ("cat", "1", "4", "3", "3")
    assert (cat["best_probability"], cat["start"]) == ("0.73", "")  # of a video, the position says when
    assert (dog["label"], dog["start_s"], dog["end_s"], dog["source"]) == ("dog", "6", "7", "camera 0")
    assert list(visits.describe()) == [
        "  label    frames  seconds  visits",
        "  cat           3      3.0       1",
        "  dog           2      1.0       1",
        "  neither       3      3.0",
        "",
        "  label    from      to   best",
        "  cat    0:01.0  0:04.0  73.0%",
        "  dog    0:06.0  0:07.0  24.0%",
    ]


def test_a_camera_s_visits_have_times_and_no_positions(tmp_path: Path) -> None:
    visits = Visits("camera 0", tmp_path / "visits.csv")
    for number in range(3):
        frame = Frame(number=number, rgb=None, time=1000.0 + number, captured=float(number))
        visits.write(replace(seen("cat", 0), frame=frame))
    visits.close()
    assert list(visits.describe())[-1].startswith("  cat    1970-01-0")  # another day than today
    (cat,) = rows(tmp_path / "visits.csv")
    assert (cat["start"], cat["seconds"], cat["start_s"]) == ("1970-01-01T00:16:40.000+00:00", "2", "")
    assert list(Visits("x").describe()) == []


def test_a_gap_ends_a_visit_and_its_seconds_count_for_nobody() -> None:
    visits = Visits("x")
    for result in (seen("cat", 0), seen("cat", 1), lost(2), seen("cat", 9), seen("cat", 30)):
        assert visits.write(result)
    visits.close()
    assert visits.count == 3
    assert "  cat         4      2.0       3" in visits.describe()


def test_the_visits_of_regions_are_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "visits.json"
    visits = Visits("x", path)
    for second in range(4):
        parts = seen("cat", second, region=FLAP), seen("neither" if second < 2 else "dog", second, region=BOWL)
        visits.write(FrameResult(frame=parts[0].frame, fps=0, regions=parts))
    visits.close()
    found = json.loads(path.read_text())
    assert [(visit["label"], visit["region"], visit["start_s"]) for visit in found["visits"]] == [
        ("cat", "flap", 0), ("dog", "bowl", 2),
    ]  # fmt: skip
    assert [place["region"] for place in found["places"]] == ["flap", "bowl"]
    assert found["places"][0]["labels"] == {"cat": {"frames": 4, "seconds": 3, "visits": 1}}
    assert found["places"][1]["labels"]["neither"] == {"frames": 2, "seconds": 2, "visits": None}
    assert "  dog           2      1.0       1  x: bowl" in visits.describe()
    assert any(line.endswith("x: flap") for line in visits.describe())


def test_a_csv_is_added_to_and_a_json_is_of_one_run(tmp_path: Path) -> None:
    for _ in range(2):
        for name in ("visits.csv", "visits.json"):
            visits = Visits("x", tmp_path / name)
            for second in range(3):
                visits.write(seen("cat", second))
            visits.close()
    assert len(rows(tmp_path / "visits.csv")) == 2
    assert len(json.loads((tmp_path / "visits.json").read_text())["visits"]) == 1
    with pytest.raises(DataError, match=r"visits are written to \.csv or \.json"):
        Visits("x", tmp_path / "visits.txt")


def test_another_json_is_not_replaced_and_one_of_ours_stays_until_somebody_comes(tmp_path: Path) -> None:
    foreign, ours = tmp_path / "package.json", tmp_path / "visits.json"
    foreign.write_text('{"name": "x"}')
    with pytest.raises(OutputError, match="holds something else than visits"):
        Visits("x", foreign)
    assert foreign.read_text() == '{"name": "x"}'
    ours.write_text('{"places": [], "visits": [1]}')
    Visits("x", ours)
    assert "[1]" in ours.read_text()


def test_images_are_counted_and_only_the_last_visits_are_shown() -> None:
    visits = Visits("x")
    for number in range(5):
        frame = Frame(number=number, rgb=None, path=f"{number}.jpg")
        visits.write(replace(seen("cat", 0), frame=frame))
    assert list(visits.describe()) == ["  label  images", "  cat         5"]
    visits = Visits("x")
    for second in range(100):
        visits.write(seen("cat" if second % 2 else "neither", second))
    visits.close()
    assert list(visits.describe())[-1] == "and 30 before these; --visits FILE.csv would have all"


def test_a_video_ends_with_who_came(scripts: Path, no_display: dict[str, str], familiar: Path, tmp_path: Path) -> None:
    colours = [GREY] * 25 + [RED] * 50 + [GREY] * 25 + [BLUE] * 50
    video = write_video(tmp_path / "pets.avi", (plain(colour, 120, 160) for colour in colours))
    command: list[str | Path] = [
        scripts / "catsdogs-cam",
        video,
        "--model",
        familiar,
        "--no-window",
        "--visits",
        tmp_path / "v.csv",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=no_display)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""  # visits are an output, so no rows are needed
    cat, dog = rows(tmp_path / "v.csv")
    assert (cat["label"], dog["label"]) == ("cat", "dog")
    assert float(cat["start_s"]) == pytest.approx(1, abs=0.5)
    assert float(cat["seconds"]) == pytest.approx(2, abs=0.6)
    assert float(cat["best_probability"]) > 0.99
    assert "  label" in done.stderr
    assert "150 frames of" in done.stderr


def test_ctrl_c_ends_with_who_came(scripts: Path, no_display: dict[str, str], tiny: Path, tmp_path: Path) -> None:
    log = tmp_path / "rows.jsonl"
    command: list[str | Path] = [scripts / "catsdogs-cam", "-", "--raw", "80x60", "--model", tiny]
    command += ["--no-window", "--jsonl", log]
    with ending(subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, env=no_display)) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        process.stdin.write(plain(RED).tobytes() * 20)
        process.stdin.flush()
        while process.poll() is None and not (log.exists() and len(log.read_text().splitlines()) == 20):
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        said = process.stderr.read().decode()
    assert process.returncode == 130, said
    assert re.search(r"^  cat +20 ", said, re.MULTILINE), said


def test_a_clock_that_is_set_does_not_change_how_long_a_visit_took(tmp_path: Path) -> None:
    visits = Visits("camera 0", tmp_path / "visits.csv")
    for number, moment in enumerate([1000.0, 1000.5, 1.7e9]):
        frame = Frame(number=number, rgb=None, time=moment, captured=50 + number / 2)
        visits.write(replace(seen("cat", 0), frame=frame))
    visits.close()
    assert [row["seconds"] for row in rows(tmp_path / "visits.csv")] == ["1"]


def test_a_slow_camera_has_one_visit(tmp_path: Path) -> None:
    visits = Visits("camera 0", tmp_path / "visits.csv")
    for number in range(8):
        visits.write(seen("neither" if number < 2 else "cat", 2.5 * number))
    visits.close()
    assert [(row["label"], row["seconds"]) for row in rows(tmp_path / "visits.csv")] == [("cat", "12.5")]


def test_a_command_that_does_not_start_leaves_the_visits_of_an_earlier_one(tmp_path: Path) -> None:
    path = tmp_path / "visits.json"
    earlier = Visits("camera 0", path)
    earlier.write(seen("cat", 0))
    earlier.close()
    before = path.read_bytes()
    Visits("camera 0", path).close()
    assert path.read_bytes() == before
