import csv
import hashlib
import json
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

from catsdogs_edge.images.drawings import draw, write_folder
from catsdogs_train.cli import _app
from tests.conftest import RUN_SIZE, Call
from tests.processes import ending


def test_the_run_folder_holds_what_the_help_promises(run_folder: Path, drawings: Path) -> None:
    names = {path.name for path in run_folder.iterdir()}
    assert names - {"printed.txt", "worst.png"} == {
        "model.keras", "run.json", "split.csv", "quarantine.csv", "history.csv", "worst.csv", "report.md",
        "curves.png", "confusion.png", "reliability.png", "familiarity.png", "views.png",
    }  # fmt: skip
    run = json.loads((run_folder / "run.json").read_text())
    assert run["classes"] == ["cat", "dog"]
    assert run["image_size"] == RUN_SIZE
    assert run["pictures"]["train"] + run["pictures"]["val"] == 40
    assert run["pictures"]["val"] >= 2
    assert run["pictures"]["quarantined"] == 0
    assert run["settings"]["data"] == [str(drawings)]
    assert run["temperature"] > 0
    with (run_folder / "history.csv").open(newline="") as stream:
        (epoch,) = csv.DictReader(stream)
    assert epoch.keys() == {
        "epoch", "stage", "accuracy", "loss", "val_accuracy", "val_loss", "seconds", "pictures_per_second",
    }  # fmt: skip
    with (run_folder / "split.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len({row["path"] for row in rows}) == 40
    assert all(Path(row["path"]).parent.name == row["label"] for row in rows)
    for row in rows:
        assert hashlib.sha256(Path(row["path"]).read_bytes()).hexdigest() == row["sha256"]
    report = (run_folder / "report.md").read_text()
    shown = {path.name for path in run_folder.glob("*.png")}
    assert set(re.findall(r"\]\((.*)\)", report)) == shown
    for name in shown:
        image = cv2.imread(str(run_folder / name))
        assert image is not None
        assert image.std() > 10


def test_the_wrong_answers_are_listed_surest_first(run_folder: Path) -> None:
    run = json.loads((run_folder / "run.json").read_text())
    with (run_folder / "worst.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    wrong = round((1 - run["best_epoch"]["val_accuracy"]) * run["pictures"]["val"])
    assert sum(row["set"] == "val" for row in rows) == wrong
    assert (run_folder / "worst.png").exists() == bool(rows)
    assert all(hashlib.sha256(Path(row["path"]).read_bytes()).hexdigest() == row["sha256"] for row in rows)
    assert all(row["label"] == Path(row["path"]).parent.name != row["answer"] for row in rows)
    probabilities = [float(row["probability"]) for row in rows]
    assert probabilities == sorted(probabilities, reverse=True)
    assert all(0.5 <= probability <= 1 for probability in probabilities)


def test_what_is_printed_is_ours(run_folder: Path) -> None:
    lines = (run_folder / "printed.txt").read_text().splitlines()
    assert len(lines) == 7, lines
    assert lines[6] == "learning what is familiar, with no images of neither"
    assert lines[0].endswith("after epoch 1")
    assert lines[1].startswith("looking at 40 images")
    assert re.fullmatch(r"\d+ images to train, \d+ to validate; classes: cat, dog", lines[2])
    assert lines[3].startswith("12 images to validate on are few: even if all answers are right, up to 24.2 % of other")
    assert re.fullmatch(r"asking the backbone once: 1 x \d+ views to train, \d+ images to validate", lines[4])
    assert lines[5].startswith("epoch 1 of 1: accuracy ")


def test_the_model_takes_images_and_has_no_augmentation(run_folder: Path) -> None:
    model = keras.saving.load_model(run_folder / "model.keras", compile=False)
    assert model.input.dtype == "uint8"
    assert not [layer.name for layer in model.layers if "random" in layer.name]
    batch = np.stack([draw("cat", 500, RUN_SIZE)])
    for learning, running in zip(model(batch, training=True), model(batch, training=False), strict=True):
        np.testing.assert_array_equal(learning, running)


def test_a_run_is_never_overwritten(call: Call, drawings: Path, run_folder: Path) -> None:
    before = (run_folder / "model.keras").stat().st_mtime_ns
    done = call(_app, "catsdogs-train", drawings, "--out", run_folder, "--weights", "none")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "holds a trained model already" in line
    assert (run_folder / "model.keras").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing"], "missing: no such folder"),
        (["DATA", "--weights", "missing.h5"], "missing.h5: No such file"),
        (["DATA", "--train-size", "1000"], "--train-size 1000, but there are 28 images for it"),
    ],
)
def test_bad_input_fails_with_one_line_and_leaves_nothing(
    arguments: list[str], message: str, call: Call, drawings: Path, tmp_path: Path
) -> None:
    given = [str(drawings) if argument == "DATA" else argument for argument in arguments]
    done = call(_app, "catsdogs-train", *given, "--out", tmp_path / "run")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    line = done.stderr.splitlines()[-1]
    assert line.startswith("catsdogs-train: ")
    assert message in line
    assert not (tmp_path / "run").exists()


def test_without_a_network_imagenet_names_the_way_out(
    call: Call, drawings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy that refuses, and an empty cache, stand for a machine without a network."""
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    monkeypatch.setattr("keras.src.utils.file_utils.config.keras_home", lambda: str(tmp_path / "keras"))
    done = call(_app, "catsdogs-train", drawings, "--out", tmp_path / "run")
    assert done.returncode == 1
    line = done.stderr.splitlines()[-1]
    assert line.startswith("catsdogs-train: the ImageNet weights cannot be downloaded")
    assert "--weights FILE" in line
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_an_image_that_vanishes_while_training_is_named(scripts: Path, small_weights: Path, tmp_path: Path) -> None:
    write_folder(tmp_path / "images", per_class=6)
    out = tmp_path / "run"
    command: list[str | Path] = [scripts / "catsdogs-train", tmp_path / "images", "--out", out]
    command += ["--weights", small_weights, "--epochs", "5000", "--views", "0"]
    with ending(subprocess.Popen(command, stderr=subprocess.PIPE, text=True)) as process:
        wait_for(out / "model.keras")
        shutil.rmtree(tmp_path / "images" / "cat")
        _, printed = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "Traceback" not in printed
    assert printed.splitlines()[-1].startswith("catsdogs-train: an image is gone or has changed since the start: ")
    assert "no such file" in printed.splitlines()[-1]


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 120
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.2)


@pytest.mark.slow
def test_an_interrupted_training_keeps_its_last_epoch(
    call: Call, scripts: Path, drawings: Path, small_weights: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    command: list[str | Path] = [scripts / "catsdogs-train", drawings, "--out", out, "--weights", small_weights]
    command += ["--epochs", "5000", "--views", "0", "--train-size", "8", "--val-size", "4"]
    with ending(subprocess.Popen(command, stderr=subprocess.PIPE, text=True)) as process:
        wait_for(out / "model.keras")
        process.send_signal(signal.SIGINT)
        _, printed = process.communicate(timeout=60)
    assert process.returncode == 130, printed
    assert f"{out}: broken off; the same command with --resume goes on" in printed
    assert json.loads((out / "run.json").read_text())["epochs_done"] >= 1
    assert keras.saving.load_model(out / "model.keras", compile=False).output_shape == (None, 2)
    assert not list(out.glob(".*"))
    stopped = (out / "model.keras").stat().st_mtime_ns
    again = call(_app, "catsdogs-train", *command[1:])
    assert again.returncode == 1
    assert "go on with --resume" in again.stderr
    other = call(_app, "catsdogs-train", *command[1:], "--resume", "--patience", "3")
    assert other.returncode == 1
    assert "has --patience None, now it is 3: resume it as it was begun" in other.stderr
    assert (out / "model.keras").stat().st_mtime_ns == stopped


@pytest.mark.parametrize("option", ["--other", "--unlabelled"])
def test_a_folder_that_is_missing_is_said_before_images_are_looked_at(
    option: str, call: Call, drawings: Path, run_folder: Path, tmp_path: Path
) -> None:
    start: list[str | Path] = ["--teacher", run_folder] if option == "--unlabelled" else ["--weights", "none"]
    done = call(_app, "catsdogs-train", drawings, *start, option, tmp_path / "none", "--out", tmp_path / "run")
    assert done.returncode == 1
    assert done.stderr.splitlines() == [f"catsdogs-train: {option} {tmp_path / 'none'}: no such folder"]


@pytest.mark.parametrize("option", ["--image-size", "--fine-tune-size"])
def test_a_size_is_a_multiple_of_eight(option: str, call: Call, drawings: Path, tmp_path: Path) -> None:
    done = call(_app, "catsdogs-train", drawings, "--out", tmp_path / "run", option, "100")
    assert done.returncode == 2
    assert "100 is not a multiple of 8: take 96" in " ".join(done.stderr.split())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--unfreeze", "all"], "--unfreeze goes with --fine-tune-epochs: without them, only the output layer learns"),
        (["--mixup", "0.2", "--fine-tune-epochs", "0"], "--mixup goes with --fine-tune-epochs"),
        (["--fine-tune-size", "64"], "--fine-tune-size goes with --fine-tune-epochs"),
        (["--teacher", "run", "--unfreeze", "all"], "--unfreeze does not go with --teacher"),
        (["--teacher", "run", "--epochs", "5"], "--epochs does not go with --teacher"),
        (["--teacher", "run", "--views", "0"], "--views does not go with --teacher"),
    ],
)
def test_options_that_would_do_nothing_are_refused(
    options: list[str], message: str, call: Call, drawings: Path, tmp_path: Path
) -> None:
    done = call(_app, "catsdogs-train", drawings, "--out", tmp_path / "run", *options)
    assert done.returncode == 2
    assert message in " ".join(done.stderr.replace("│", "").split())
    assert not (tmp_path / "run").exists()
