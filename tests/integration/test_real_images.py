"""The three commands of the README on real photographs: a subset, because CI has two cores."""

import csv
import json
import shutil
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

import catsdogs_edge.cli.classify
import catsdogs_export.cli
import catsdogs_train.cli
from catsdogs_edge.images.decode import load_batch
from catsdogs_edge.model import selftest
from catsdogs_edge.model.bundled import MODEL
from catsdogs_edge.model.classifier import Classifier
from catsdogs_train.data.blank_frames import draw_blank_frames
from tests.conftest import work_here
from tests.integration.engines import Web, openvino_logits
from tests.processes import ending

CLASSES = ("cat", "dog")
SIZE = 160

pytestmark = [pytest.mark.shared, pytest.mark.slow]


def divide(things: Path, out: Path, each: int) -> dict[str, Path]:
    """Puts every other kind of thing into one of two folders: some images of each to learn, all of each to judge."""
    kinds = sorted({path.name.split("_image")[0] for path in things.iterdir()})
    for index, kind in enumerate(kinds):
        name = "judged" if index % 2 else "learned"
        folder = out / name / kind
        folder.mkdir(parents=True)
        for path in sorted(things.glob(f"{kind}_image*"))[: each if name == "learned" else None]:
            shutil.copy(path, folder)
    return {name: out / name for name in ("learned", "judged")}


def take(images: Path, out: Path, every: int) -> Path:
    """Links some of the images of each class: to look at all of them takes a minute."""
    for kind in CLASSES:
        (out / kind).mkdir(parents=True)
        for path in sorted((images / kind).iterdir())[::every]:
            (out / kind / path.name).symlink_to(path)
    return out


def peak_memory(command: list[str | Path]) -> float:
    """Runs a command; returns the largest resident set, in MB."""
    peak = 0
    with ending(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)) as process:
        while process.poll() is None:  # wait4 would count this process, too, from which it was forked
            status = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
            peak = int(status.split("VmHWM:")[1].split()[0]) if "VmHWM:" in status else peak
            time.sleep(0.02)
    assert process.returncode == 0
    return peak / 1024


def classify(images: Path, model: Path, out: Path, *options: str) -> dict[str, str]:
    """Classifies a folder; returns file name -> label."""
    work_here(catsdogs_edge.cli.classify._app, "catsdogs-classify", images, "--model", model, "--csv", out, *options)
    with out.open(newline="") as stream:
        return {Path(row["path"]).name: row["label"] for row in csv.DictReader(stream)}


def test_train_export_classify(shared: Path, scripts: Path, web: Web, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    things = divide(shared / "data" / "other", tmp_path, each=3)
    weights = shared / "weights" / "resnet50_notop.weights.h5"
    work_here(
        catsdogs_train.cli._app, "catsdogs-train", take(shared / "data" / "train", tmp_path / "train", 8),
        "--val", take(shared / "data" / "val", tmp_path / "val", 50), "--weights", weights,
        "--image-size", str(SIZE), "--epochs", "5", "--views", "1", "--other", things["learned"], "--out", folder
    )  # fmt: skip
    # On a few of the images, as on all of them INT8 takes a minute longer; then it may lose one of 100, not none.
    some = take(shared / "data" / "train", tmp_path / "some", 50)
    given: list[str | Path] = ["--int8", "--calibrate", some, "--max-drop", "1"]
    work_here(catsdogs_export.cli._export_app, "catsdogs-export", folder, *given)
    assert json.loads((folder / "run.json").read_text())["best_epoch"]["val_accuracy"] >= 0.97
    assert json.loads((folder / "onnx" / "parity.json").read_text())["same_tensors"]["max_logit_difference"] <= 1e-3
    inbox = shared / "data" / "inbox"
    fp32 = classify(inbox, folder / "onnx" / "model.onnx", tmp_path / "fp32.csv", "--accept-all")
    int8 = classify(inbox, folder / "onnx" / "model.int8.onnx", tmp_path / "int8.csv", "--accept-all")
    assert len(int8) == 200
    right = sum(name.startswith(label) for name, label in int8.items())
    agree = sum(fp32[name] == label for name, label in int8.items())
    assert right >= 0.97 * 200
    assert agree >= 0.99 * 200

    # Things of kinds that it has never seen, and frames that show nothing.
    labels = classify(things["judged"], folder / "onnx" / "model.int8.onnx", tmp_path / "things.csv")
    assert sum(label == "neither" for label in labels.values()) >= 0.9 * len(labels)
    kept = classify(inbox, folder / "onnx" / "model.int8.onnx", tmp_path / "kept.csv")
    assert sum(label != "neither" for label in kept.values()) >= 0.96 * len(kept)
    assert all(label in {"neither", int8[name]} for name, label in kept.items())
    classifier = Classifier.load(folder / "onnx" / "model.int8.onnx")
    pets = list(load_batch(sorted(inbox.iterdir())[::10], SIZE))
    plain = [np.full((480, 640, 3), grey, np.uint8) for grey in (0, 64, 128, 255)]
    nothing = [*plain, *draw_blank_frames(80, SIZE, 1, pets)]
    assert {prediction.label for prediction in classifier.classify(nothing)} == {"neither"}

    command: list[str | Path] = [scripts / "catsdogs-classify", inbox, "--model", folder / "onnx" / "model.int8.onnx"]
    assert peak_memory(command) <= 300

    # The same files, unchanged, on two other engines.
    images = sorted(inbox.iterdir())[::5]
    batch = load_batch(images, SIZE)
    for name, ours in (("model.onnx", fp32), ("model.int8.onnx", int8)):
        model = folder / "onnx" / name
        logits_of_engines = [openvino_logits(model, batch)]
        if name == "model.int8.onnx":  # float32 takes a minute there; test_other_engines.py tries it on some images
            logits_of_engines.append(web.logits(model, batch))
        for logits in logits_of_engines:
            theirs = [CLASSES[best] for best in logits.argmax(axis=1)]
            same = np.array([ours[path.name] == label for path, label in zip(images, theirs, strict=True)])
            # Where two logits are closer than engines may differ, either label is right.
            close = np.abs(logits[:, 0] - logits[:, 1]) < tolerance(model)
            assert np.all(same | close)
            assert same.sum() >= 39


def test_the_model_in_the_package_on_photographs(shared: Path, tmp_path: Path) -> None:
    labels = classify(shared / "data" / "inbox", MODEL, tmp_path / "inbox.csv", "--accept-all")
    assert sum(name.startswith(label) for name, label in labels.items()) >= 0.985 * 200  # it has seen these
    every = shared / "data" / "val" / "*" / "*[13579]7.jpg"  # and not these: every twentieth
    labels = classify(every, MODEL, tmp_path / "val.csv", "--accept-all")
    assert len(labels) == 250
    assert sum(name.startswith(label) for name, label in labels.items()) >= 0.98 * 250
    judged = divide(shared / "data" / "other", tmp_path, each=12)["judged"]
    labels = classify(judged, MODEL, tmp_path / "things.csv")
    assert sum(label == "neither" for label in labels.values()) >= 0.95 * len(labels)


def tolerance(model: Path) -> float:
    """How far apart the file says that engines may be, in logits."""
    return float(json.loads(Classifier.load(model).metadata[selftest.SELFTEST_KEY])["tolerance"])
