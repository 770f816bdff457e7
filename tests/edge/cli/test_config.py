import json
import os
import subprocess
import tomllib
from dataclasses import fields
from pathlib import Path

import pytest

import catsdogs_edge.cli.cam
from catsdogs_edge.cam.options import CamOptions
from tests.conftest import call_here


def cam(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return call_here(catsdogs_edge.cli.cam._app, "catsdogs-cam", *arguments, env=os.environ | environment)


def printed(*arguments: str | Path, **environment: str) -> dict[str, object]:
    done = cam(*arguments, "--print-config", **environment)
    assert done.returncode == 0, done.stderr
    return tomllib.loads(done.stdout)


def write(folder: Path, text: str) -> Path:
    path = folder / "cam.toml"
    path.write_text(text)
    return path


def test_what_is_typed_goes_before_the_environment_and_that_before_the_file(tmp_path: Path) -> None:
    file = write(tmp_path, 'smoothing = 1.5\nquota = "9GB"\nclips = "c"\nframes = 3\n')
    found = printed("--config", file, "--frames", "7", CATSDOGS_FRAMES="5", CATSDOGS_QUOTA="14d")
    assert found == {"smoothing": 1.5, "quota": "14d", "clips": "c", "frames": 7}


def test_every_option_can_stand_in_the_file_as_it_is_printed(tmp_path: Path) -> None:
    said = cam("--print-config").stdout
    names = {
        line.partition(" =")[0].removeprefix("# ") for line in said.splitlines() if " =" in line and "-" not in line[:1]
    }
    options = {field.name.replace("_", "-") for field in fields(CamOptions)} - {"list", "json"}
    assert options <= names
    typed = ["a.mp4", "b.mp4", "--crop", "x=0,0,1,1", "--crop", "y=0,0,1,1", "--motion", "--on", "cat:2s", "./open"]
    typed += ["--provider", "cpu", "--save-when", "events", "--clip-before", "2", "--csv", "seen.csv", "--no-window"]
    once = printed(*typed)
    assert once["sources"] == ["a.mp4", "b.mp4"]
    assert once["on"] == ["cat:2s", "./open"]
    again = printed("--config", write(tmp_path, cam(*typed, "--print-config").stdout))
    assert again == once


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("smothing = 1", "has 'smothing', which is no option: did you mean 'smoothing'?"),
        ("xyzzy = 1", "has 'xyzzy', which is no option: --print-config shows all"),
        ("list = true", "has 'list', which is no option"),
        ("[cam]\nframes = 1", "has 'cam', which is no option"),
        ("smoothing = {a = 1}", "expected a text, a number, true, false, or a list of texts"),
        ("smoothing", "is no TOML"),
        ("smoothing = " + "[" * 5000, "nested too deep"),
        ("motion = 0", "'motion' is 0, expected true or false"),
        ("jsonl = true", "'jsonl' is true, expected a text"),
        ('csv = ["a.csv"]', """'csv' is ["a.csv"], expected a text"""),
        ('smoothing = "1"', """'smoothing' is "1", expected a number"""),
        ("threads = 1.5", "'threads' is 1.5, expected a whole number"),
        ("frames = true", "'frames' is true, expected a whole number"),
        ("sources = []", "'sources' is [], expected a list of texts"),
    ],
)
def test_a_file_that_is_wrong_is_one_line(text: str, message: str, tmp_path: Path) -> None:
    done = cam("--config", write(tmp_path, text))
    assert done.returncode == 1
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_value_that_is_wrong_is_wrong_usage(tmp_path: Path) -> None:
    done = cam("--config", write(tmp_path, "smoothing = -1"))
    assert done.returncode == 2
    said = " ".join(done.stderr.split())
    assert "Invalid value for '--smoothing'" in said
    assert f"(it stands in {tmp_path / 'cam.toml'})" in said
    done = cam(CATSDOGS_FRAMES="many")
    assert done.returncode == 2
    assert "(it stands in the environment: CATSDOGS_FRAMES)" in " ".join(done.stderr.split())
    assert cam("--config", tmp_path / "no.toml").returncode == 1


def test_web_may_be_true_false_or_an_address(tmp_path: Path) -> None:
    for text, expected in (("true", "127.0.0.1:8765"), ('"127.0.0.1:1"', "127.0.0.1:1"), ("false", None)):
        assert printed("--config", write(tmp_path, f"web = {text}")).get("web") == expected


def test_a_number_may_name_a_camera(tmp_path: Path) -> None:
    assert printed("--config", write(tmp_path, "sources = [0, 1]"))["sources"] == ["0", "1"]
    assert printed("--config", write(tmp_path, "sources = 1"))["sources"] == ["1"]


def test_a_password_is_not_printed() -> None:
    done = cam("rtsp://me:secret@10.0.0.5/live", "--print-config")
    assert "secret" not in done.stdout


def test_a_stream_is_watched_as_the_file_says(tmp_path: Path, video: Path, tiny: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    text = f'sources = "{video}"\nmodel = "{tiny}"\nno-window = true\njsonl = "{rows}"\nframes = 4\ncrop = "0,0,1,1"\n'
    done = cam("--config", write(tmp_path, text))
    assert done.returncode == 0, done.stderr
    assert [json.loads(line)["label"] for line in rows.read_text().splitlines()] == ["cat"] * 4


@pytest.mark.parametrize(
    ("option", "value"), [("--smoothing", "nan"), ("--smoothing", "inf"), ("--clip-before", "nan")]
)
def test_what_is_no_number_is_wrong_usage(option: str, value: str, tmp_path: Path) -> None:
    done = cam(option, value)
    assert done.returncode == 2
    assert f"Invalid value for '{option}': {value} is not a finite number" in " ".join(done.stderr.split())
    file = write(tmp_path, f"{option.removeprefix('--').replace('-', '_')} = {value}\n")
    done = cam("--config", file)
    assert done.returncode == 2
    assert f"is not a finite number (it stands in {file})" in " ".join(done.stderr.split())


def test_an_empty_text_in_a_file_is_not_the_current_folder(tmp_path: Path) -> None:
    done = cam("--config", write(tmp_path, 'clips = ""\n'))
    assert done.returncode == 1
    assert "'clips' is \"\", expected a value, or no such line" in " ".join(done.stderr.split())
