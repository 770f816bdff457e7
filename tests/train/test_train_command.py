import csv
import json
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import cv2
import keras
import numpy as np
import pytest

from catsdogs_edge.drawings import draw, write_folder


def train(scripts: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([scripts / "catsdogs-train", *arguments], capture_output=True, text=True, check=False)


def test_the_run_folder_holds_what_the_help_promises(run_folder: Path, drawings: Path) -> None:
    names = {path.name for path in run_folder.iterdir()}
    assert names - {"printed.txt"} == {
        "model.keras",
        "run.json",
        "split.csv",
        "quarantine.csv",
        "history.csv",
        "curves.png",
    }
    run = json.loads((run_folder / "run.json").read_text())
    assert run["classes"] == ["cat", "dog"]
    assert run["image_size"] == 224
    assert run["pictures"]["train"] + run["pictures"]["val"] == 40
    assert run["pictures"]["val"] >= 2
    assert run["pictures"]["quarantined"] == 0
    assert run["settings"]["data"] == [str(drawings)]
    with (run_folder / "history.csv").open(newline="") as stream:
        (epoch,) = csv.DictReader(stream)
    assert epoch.keys() == {"epoch", "accuracy", "loss", "val_accuracy", "val_loss", "seconds"}
    with (run_folder / "split.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len({row["path"] for row in rows}) == 40
    assert all(Path(row["path"]).parent.name == row["label"] for row in rows)
    curves = cv2.imread(str(run_folder / "curves.png"))
    assert curves is not None
    assert curves.std() > 10


def test_what_is_printed_is_ours(run_folder: Path) -> None:
    lines = (run_folder / "printed.txt").read_text().splitlines()
    assert len(lines) == 5, lines
    assert lines[0].endswith("after epoch 1")
    assert lines[1].startswith("looking at 40 pictures")
    assert re.fullmatch(r"\d+ pictures to train, \d+ to validate; classes: cat, dog", lines[2])
    assert re.fullmatch(r"asking the backbone once: 1 x \d+ views to train, \d+ pictures to validate", lines[3])
    assert lines[4].startswith("epoch 1 of 1: accuracy ")


def test_the_model_takes_pictures_and_has_no_augmentation(run_folder: Path) -> None:
    model = keras.saving.load_model(run_folder / "model.keras", compile=False)
    assert model.input.dtype == "uint8"
    assert not [layer.name for layer in model.layers if "random" in layer.name]
    batch = np.stack([draw("cat", 500, 224)])
    np.testing.assert_array_equal(model(batch, training=True), model(batch, training=False))


def test_a_run_is_never_overwritten(scripts: Path, drawings: Path, run_folder: Path) -> None:
    before = (run_folder / "model.keras").stat().st_mtime_ns
    done = train(scripts, drawings, "--out", run_folder, "--weights", "none")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "holds a trained model already" in line
    assert (run_folder / "model.keras").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing"], "missing: no such folder"),
        (["DATA", "--weights", "missing.h5"], "no such file"),
        (["DATA", "--train-size", "1000"], "1000 pictures to train with were asked for"),
    ],
)
def test_bad_input_fails_with_one_line_and_leaves_nothing(
    arguments: list[str], message: str, scripts: Path, drawings: Path, tmp_path: Path
) -> None:
    given = [str(drawings) if argument == "DATA" else argument for argument in arguments]
    done = train(scripts, *given, "--out", tmp_path / "run")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    line = done.stderr.splitlines()[-1]
    assert line.startswith("catsdogs-train: ")
    assert message in line
    assert not (tmp_path / "run").exists()


def test_without_a_network_imagenet_names_the_way_out(scripts: Path, drawings: Path, tmp_path: Path) -> None:
    """A proxy that refuses, and an empty cache, stand for a machine without a network."""
    refusing = {"https_proxy": "http://127.0.0.1:9", "KERAS_HOME": str(tmp_path / "keras")}
    done = subprocess.run(
        [scripts / "catsdogs-train", drawings, "--out", tmp_path / "run"],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | refusing,
    )
    assert done.returncode == 1
    line = done.stderr.splitlines()[-1]
    assert line.startswith("catsdogs-train: the ImageNet weights cannot be downloaded")
    assert "--weights FILE" in line
    assert "Traceback" not in done.stderr


def test_a_picture_that_vanishes_while_training_is_named(scripts: Path, tmp_path: Path) -> None:
    write_folder(tmp_path / "pictures", per_class=6)
    out = tmp_path / "run"
    command: list[str | Path] = [scripts / "catsdogs-train", tmp_path / "pictures", "--out", out, "--weights", "none"]
    with subprocess.Popen([*command, "--epochs", "500", "--views", "0"], stderr=subprocess.PIPE, text=True) as process:
        wait_for(out / "model.keras")
        shutil.rmtree(tmp_path / "pictures" / "cat")
        _, printed = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "Traceback" not in printed
    assert printed.splitlines()[-1].startswith("catsdogs-train: a picture is gone or has changed since the start: ")
    assert "no such file" in printed.splitlines()[-1]


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 120
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.2)


def test_an_interrupted_training_keeps_its_last_epoch(scripts: Path, drawings: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    command: list[str | Path] = [
        scripts / "catsdogs-train",
        drawings,
        "--out",
        out,
        "--weights",
        "none",
        "--epochs",
        "500",
        "--views",
        "0",
    ]
    with subprocess.Popen([*command, "--train-size", "8", "--val-size", "4"], stderr=subprocess.PIPE) as process:
        wait_for(out / "model.keras")
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert process.returncode == 130
    assert json.loads((out / "run.json").read_text())["epochs_done"] >= 1
    assert keras.saving.load_model(out / "model.keras", compile=False).output_shape == (None, 2)
    assert not list(out.glob(".*"))
