"""Inputs and scripts that once failed, from outside of the repository; left out where they are not there."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from catsdogs_edge.errors import ModelError
from catsdogs_edge.images.decode import decode
from catsdogs_edge.images.discovery import read_list
from catsdogs_edge.model.classifier import Classifier
from tests.conftest import SHARED

CASES = SHARED / "cases"

pytestmark = [pytest.mark.shared, pytest.mark.skipif(not CASES.is_dir(), reason="there is no folder ../shared/cases")]


def run_case(scripts: Path, *command: str | Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"BIN": str(scripts), "DRAWINGS": "catsdogs_edge.images.drawings"}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=300)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resort_deletes.sh", "two_moves.py", "cwd_code.sh"])
def test_nothing_is_lost_and_nothing_runs(name: str, scripts: Path, tmp_path: Path) -> None:
    done = run_case(scripts, "bash" if name.endswith(".sh") else sys.executable, CASES / name)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "executed by" not in done.stdout
    assert "lost: []" in done.stdout or name != "two_moves.py"


@pytest.mark.slow
@pytest.mark.parametrize("seconds", ["1", "8"])
def test_a_power_cut_after_a_move_between_disks_loses_nothing(seconds: str, scripts: Path) -> None:
    if not shutil.which("mkfs.ext4"):
        pytest.skip("there is no mkfs.ext4")
    done = run_case(scripts, "bash", CASES / "power_cut.sh", seconds)
    if done.returncode == 9:
        pytest.skip("may not mount a loop device here")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "rows 31" in done.stdout


@pytest.mark.parametrize(
    ("name", "code", "reason"),
    [
        ("ok", 0, ""),
        ("batch_one", 1, "gives 1 answers for 3 images"),
        ("damaged_utf8", 1, "is not a model, or a damaged one"),
        ("graph_size_0", 1, "expected 1 to 4096"),
        ("label_columns", 1, "the name of another column"),
        ("label_esc", 1, "letters that can be printed"),
        ("label_surrogate", 1, "letters that can be printed"),
        ("nan_weights", 1, "3 could not be classified"),
        ("size_inf", 1, "damaged contract"),
        ("sparse_ext", 1, "takes content from other files"),
    ],
)
def test_a_hostile_model_is_one_line(name: str, code: int, reason: str, scripts: Path, pets_folder: Path) -> None:
    images = sorted(pets_folder.rglob("*.png"))[:3]
    done = run_case(scripts, scripts / "catsdogs-classify", *images, "--model", CASES / "models" / f"{name}.onnx")
    assert done.returncode == code
    assert reason in done.stderr
    assert done.stderr.isascii()
    assert "\x1b" not in done.stdout + done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.fixture(scope="session")
def pets_folder(scripts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("drawn")
    subprocess.run([scripts / "python", "-m", "catsdogs_edge.images.drawings", folder, "2"], check=True)
    return folder


@pytest.mark.parametrize(
    ("name", "last", "count"), [("vfr.mp4", 15.0, 45), ("longaudio.mkv", 2.9, 30), ("anim.gif", 2.9, 30)]
)
def test_a_video_has_the_times_of_its_container(
    name: str, last: float, count: int, scripts: Path, tiny: Path, no_display: dict[str, str]
) -> None:
    done = subprocess.run(
        [scripts / "catsdogs-cam", CASES / name, "--model", tiny, "--jsonl", "-"],
        capture_output=True, text=True, check=True, env=no_display,
    )  # fmt: skip
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(rows) == count
    assert rows[-1]["position_s"] == pytest.approx(last, abs=0.1)  # OpenCV 4.13 counts the sound, too
    assert not any(row["error"] for row in rows)


def test_lists_as_windows_writes_them() -> None:
    for name in ("list_utf16.txt", "list_bom.txt"):
        names = list(read_list(f"@{CASES / name}"))
        assert names
        assert all(path.isascii() and path.isprintable() for path in names)


def test_an_avif_is_upright() -> None:
    assert decode((CASES / "avif_exif6.avif").read_bytes()).shape == (300, 400, 3)


def test_a_model_that_does_not_end_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("catsdogs_edge.model.classifier.LONGEST_RUN", 0.5)
    classifier = Classifier.load(CASES / "models" / "endless_loop.onnx", threads=1)
    size = classifier.contract.image_size
    with pytest.raises(ModelError, match="does not answer within"):
        classifier.classify([np.zeros((size, size, 3), np.uint8)])
