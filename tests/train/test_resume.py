"""A training that is killed at any moment, and resumed, ends where an undisturbed one ends."""

import csv
import json
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

from catsdogs_edge.drawings import write_folder

FAST = [
    "--weights",
    "none",
    "--image-size",
    "32",
    "--batch-size",
    "8",
    "--epochs",
    "6",
    "--views",
    "2",
    "--val-size",
    "20",
]
FINE_TUNING = ["--fine-tune-epochs", "4", "--unfreeze", "conv5"]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("resume") / "pictures"
    write_folder(folder, per_class=30)
    return folder


@pytest.fixture(scope="module")
def command(scripts: Path, pictures: Path) -> list[str]:
    return [str(scripts / "catsdogs-train"), str(pictures), *FAST, *FINE_TUNING]


@pytest.fixture(scope="module")
def undisturbed(command: list[str], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float]:
    """A run, and the seconds that it took."""
    out = tmp_path_factory.mktemp("undisturbed") / "run"
    started = time.monotonic()
    subprocess.run([*command, "--out", str(out)], check=True, capture_output=True)
    return out, time.monotonic() - started


def history(run: Path) -> list[dict[str, str]]:
    with (run / "history.csv").open(newline="") as stream:
        timed = {"seconds", "pictures_per_second"}
        return [{name: value for name, value in row.items() if name not in timed} for row in csv.DictReader(stream)]


def test_the_same_seed_gives_the_same_figures(
    command: list[str], undisturbed: tuple[Path, float], tmp_path: Path
) -> None:
    subprocess.run([*command, "--out", str(tmp_path / "again")], check=True, capture_output=True)
    assert history(tmp_path / "again") == history(undisturbed[0])


def test_killed_three_times_it_ends_where_an_undisturbed_run_ends(
    command: list[str], undisturbed: tuple[Path, float], tmp_path: Path
) -> None:
    whole, seconds = undisturbed
    out = tmp_path / "run"
    draw = np.random.default_rng()
    moments = []
    for _ in range(3):
        moments.append(draw.uniform(0.3, 0.9) * seconds)
        with subprocess.Popen([*command, "--out", str(out), "--resume"], stderr=subprocess.PIPE) as process:
            try:
                process.communicate(timeout=moments[-1])
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.communicate()
    done = subprocess.run([*command, "--out", str(out), "--resume"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    expected, found = (json.loads((run / "run.json").read_text())["best_epoch"] for run in (whole, out))
    assert found["val_accuracy"] == pytest.approx(expected["val_accuracy"], abs=0.001), moments
    assert [row["epoch"] for row in history(out)] == [row["epoch"] for row in history(whole)]
    assert not (out / "checkpoint").exists()
    assert not list(out.glob(".*"))
    assert {path.name for path in out.iterdir()} == {path.name for path in whole.iterdir()}
