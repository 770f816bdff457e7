"""Trains with Keras on JAX; the TensorFlow side exports what it saved."""

import json
from pathlib import Path

import numpy as np
import pytest

from catsdogs_edge.images.decode import resize
from catsdogs_edge.images.drawings import draw
from catsdogs_edge.model.classifier import Classifier
from catsdogs_edge.model.scores import softmax
from catsdogs_export.cli import _export_app
from tests.conftest import Call
from tests.train.trainings import Training

pytestmark = pytest.mark.slow


def test_what_jax_trained_tensorflow_exports_with_parity(training: Training, call: Call, tmp_path: Path) -> None:
    run, _ = training.undisturbed("jax")
    assert json.loads((run / "run.json").read_text())["backend"] == "jax"
    done = call(_export_app, "catsdogs-export", run, "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    parity = json.loads((tmp_path / "parity.json").read_text())
    tensors = parity["same_tensors"]
    assert tensors["max_logit_difference"] <= tensors["limit"]
    classifier = Classifier.load(tmp_path / "model.onnx")
    trained = json.loads((run / "run.json").read_text())
    assert classifier.contract.image_size == 32
    assert classifier.contract.temperature == trained["temperature"]
    image = np.asarray(draw("dog", 700, 120), np.uint8)
    logits = classifier.predict(np.stack([resize(image, 32)])).logits
    expected = softmax(logits, trained["temperature"])
    np.testing.assert_allclose(list(classifier.classify(image).probabilities.values()), expected[0], atol=1e-6)
