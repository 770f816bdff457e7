import json
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from catsdogs_edge.images.decode import RgbBatch
from catsdogs_edge.images.drawings import write_folder
from catsdogs_edge.model.classifier import Classifier
from catsdogs_edge.model.scores import Outputs
from catsdogs_export.cli import _eval_app
from catsdogs_export.export import export
from catsdogs_export.options import ExportOptions
from tests.conftest import Call


@pytest.fixture(scope="module")
def exported(small_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("eval") / "onnx"
    export(small_run, out, ExportOptions())
    return out / "model.onnx"


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    write_folder(folder, per_class=10, first_seed=900)
    (folder / "cat" / "torn.jpg").write_bytes(b"torn")
    return folder


def test_keras_and_onnx_get_the_same_figures(
    call: Call, small_run: Path, exported: Path, images: Path, tmp_path: Path
) -> None:
    results = []
    for model in (small_run / "model.keras", exported):
        done = call(_eval_app, "catsdogs-eval", images, "--model", model, "--json", "--png", tmp_path / "plot.png")
        assert done.returncode == 0, done.stderr
        results.append(json.loads(done.stdout))
    keras, onnx = results
    assert (onnx["pictures"], onnx["unreadable"]) == (20, 1)
    assert onnx["confusion"] == keras["confusion"]
    assert [sum(row) for row in onnx["confusion"]] == [10, 10]  # the true classes are in rows
    assert onnx["accuracy"] == (onnx["confusion"][0][0] + onnx["confusion"][1][1]) / 20
    assert onnx["accuracy_interval"][0] < onnx["accuracy"] <= onnx["accuracy_interval"][1]
    assert onnx["class_accuracy"]["cat"] == onnx["confusion"][0][0] / 10
    assert onnx["log_loss"] == pytest.approx(keras["log_loss"], abs=1e-4)  # the two differ by 1e-5 in a logit
    assert onnx["calibration_error"] == pytest.approx(keras["calibration_error"], abs=1e-4)
    assert onnx["pictures_per_second"] > 0
    plot = cv2.imread(str(tmp_path / "plot.png"))
    assert plot is not None
    assert plot.std() > 10


def test_a_plot_has_the_name_that_was_asked_for_and_replaces_no_other(
    call: Call, exported: Path, images: Path, tmp_path: Path
) -> None:
    shutil.copy(exported, tmp_path / "a$_$b.onnx")
    (tmp_path / "holiday.png").write_bytes(b"a photograph")
    done = call(_eval_app, "catsdogs-eval", images, "--model", tmp_path / "a$_$b.onnx", "--png", tmp_path / "holiday")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "holiday.png").read_bytes() == b"a photograph"
    assert (tmp_path / "holiday").read_bytes().startswith(b"\x89PNG")
    (tmp_path / "folder.png").mkdir()
    done = call(_eval_app, "catsdogs-eval", images, "--model", tmp_path / "none.onnx", "--png", tmp_path / "folder.png")
    assert (done.returncode, done.stdout) == (1, "")
    assert "folder.png is a folder, expected the name of a file" in done.stderr  # before anything is measured


def test_answers_that_are_no_numbers_are_one_line(
    call: Call, exported: Path, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    predict = Classifier.predict

    def spoil(classifier: Classifier, batch: RgbBatch) -> Outputs:
        outputs = predict(classifier, batch)
        return replace(outputs, probabilities=outputs.probabilities * np.float32("nan"))

    monkeypatch.setattr(Classifier, "predict", spoil)
    done = call(_eval_app, "catsdogs-eval", images, "--model", exported)
    assert done.returncode == 1
    assert "0.png is not a finite number: it cannot be measured" in done.stderr.splitlines()[-1]


def test_a_table_for_people(call: Call, exported: Path, images: Path) -> None:
    done = call(_eval_app, "catsdogs-eval", images, "--model", exported)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("accuracy ")
    assert "torn.jpg: not an image" in done.stderr
    assert "left out, because they could not be read: 1 image\n" in done.stderr


def test_other_classes_are_refused(call: Call, exported: Path, tmp_path: Path) -> None:
    write_folder(tmp_path, per_class=1)
    (tmp_path / "dog").rename(tmp_path / "cow")
    done = call(_eval_app, "catsdogs-eval", tmp_path, "--model", exported)
    assert done.returncode == 1
    assert done.stderr == f"catsdogs-eval: {tmp_path} has the classes cat, cow, the model knows cat, dog\n"


def test_a_provider_for_a_keras_file_is_refused(call: Call, small_run: Path, images: Path) -> None:
    done = call(_eval_app, "catsdogs-eval", images, "--model", small_run / "model.keras", "--provider", "cuda")
    assert done.returncode == 1
    assert "--provider cuda is for an ONNX file" in done.stderr


def test_a_keras_file_that_run_json_does_not_describe_is_refused(call: Call, small_run: Path, images: Path) -> None:
    done = call(_eval_app, "catsdogs-eval", images, "--model", small_run / "modle.keras")
    assert done.returncode == 1
    assert f"modle.keras: expected {small_run / 'model.keras'}, as run.json describes that one alone" in done.stderr
