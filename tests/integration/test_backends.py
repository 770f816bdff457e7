"""Trains with Keras on JAX; the TensorFlow side exports what it saved."""

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from catsdogs_edge.images.decode import resize
from catsdogs_edge.images.drawings import draw
from catsdogs_edge.model.classifier import Classifier
from catsdogs_edge.model.scores import softmax

pytestmark = pytest.mark.slow


SIZE = 96


@pytest.fixture(scope="module")
def run(scripts: Path, drawings: Path, small_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("jax")
    out = tmp_path_factory.mktemp("jax") / "run"
    command: list[str | Path] = [
        scripts / "catsdogs-train", drawings, "--out", out, "--weights", small_weights, "--image-size", str(SIZE),
        "--epochs", "2", "--views", "1", "--val-size", "16", "--fine-tune-epochs", "1", "--unfreeze", "conv5",
    ]  # fmt: skip
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=os.environ | {"KERAS_BACKEND": "jax"}
    )
    assert done.returncode == 0, done.stderr
    assert json.loads((out / "run.json").read_text())["backend"] == "jax"
    return out


def test_what_jax_trained_tensorflow_exports_with_parity(run: Path, scripts: Path) -> None:
    done = subprocess.run([scripts / "catsdogs-export", run], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    parity = json.loads((run / "onnx" / "parity.json").read_text())
    tensors = parity["same_tensors"]
    assert tensors["max_logit_difference"] <= tensors["limit"]
    classifier = Classifier.load(run / "onnx" / "model.onnx")
    trained = json.loads((run / "run.json").read_text())
    assert classifier.contract.image_size == SIZE
    assert classifier.contract.temperature == trained["temperature"]
    image = np.asarray(draw("dog", 700, 120), np.uint8)
    logits = classifier.predict(np.stack([resize(image, SIZE)])).logits
    expected = softmax(logits, trained["temperature"])
    np.testing.assert_allclose(list(classifier.classify(image).probabilities.values()), expected[0], atol=1e-6)
