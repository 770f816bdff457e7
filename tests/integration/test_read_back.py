import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import onnxruntime as ort

from catsdogs_edge.images.drawings import draw
from tests.conftest import ROOT, RUN_SIZE


def test_a_network_is_read_back_from_an_int8_file(published: Path, tmp_path: Path) -> None:
    script, file = ROOT / "scripts" / "read_back.py", published / "model.int8.onnx"
    subprocess.run([sys.executable, script, file, tmp_path / "network.keras"], check=True)
    network = keras.saving.load_model(tmp_path / "network.keras")
    assert not any("bn" in layer.name for layer in network.get_layer("resnet50").layers)
    images = np.stack([np.asarray(draw(kind, 900, RUN_SIZE), np.uint8) for kind in ("cat", "dog", "room")])
    session = ort.InferenceSession(file, providers=["CPUExecutionProvider"])
    (expected,) = session.run(["logits"], {"image": images})
    # The file rounds what is between the layers as well.
    np.testing.assert_allclose(network(images, training=False), expected, atol=0.1 * np.abs(expected).max())
