import json
import subprocess
from pathlib import Path

import pytest


def cam(scripts: Path, env: dict[str, str], *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([scripts / "catsdogs-cam", *arguments], capture_output=True, text=True, check=False, env=env)


def test_json_lines_on_standard_output(scripts: Path, no_display: dict[str, str], video: Path, tiny: Path) -> None:
    done = cam(scripts, no_display, video, "--model", tiny, "--no-window")
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["label"] for row in rows] == ["cat"] * 6 + ["dog"] * 4
    assert [row["frame"] for row in rows] == list(range(10))
    assert rows[0]["probabilities"].keys() == {"cat", "dog"}
    assert rows[0]["probability"] == rows[0]["probabilities"]["cat"] > 0.99
    assert rows[0]["schema"] == 1
    assert all(row["latency_ms"] > 0 for row in rows)
    first, last = done.stderr.splitlines()
    assert first.endswith("tiny.onnx (fp32) on CPUExecutionProvider")
    assert last.startswith("10 frames of")


def test_json_lines_in_a_file_and_a_limit(
    scripts: Path, no_display: dict[str, str], video: Path, tiny: Path, tmp_path: Path
) -> None:
    out = tmp_path / "rows.jsonl"
    done = cam(scripts, no_display, video, "--model", tiny, "--no-window", "--jsonl", out, "--frames", "3")
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert len(out.read_text().splitlines()) == 3


def test_without_a_display_it_says_so_and_goes_on(
    scripts: Path, no_display: dict[str, str], video: Path, tiny: Path
) -> None:
    done = cam(scripts, no_display, video, "--model", tiny)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("No window: ") == 1
    assert len(done.stdout.splitlines()) == 10


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("97", "camera 97 cannot be opened"),
        ("missing.mp4", "no such video or picture"),
        (__file__, "is not a video"),
    ],
)
def test_a_source_that_does_not_open_fails_with_one_line(
    scripts: Path, no_display: dict[str, str], source: str, message: str, tiny: Path
) -> None:
    done = cam(scripts, no_display, source, "--model", tiny, "--no-window")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert message in line
