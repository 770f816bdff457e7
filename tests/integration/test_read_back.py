import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import onnx
import onnxruntime as ort
import pytest

from catsdogs_edge.images.drawings import draw
from tests.conftest import ROOT
from tests.edge.make_tiny_model import make_tiny_model

SCRIPT = ROOT / "scripts" / "read_back.py"


@pytest.mark.parametrize(("is_whole", "tolerance"), [(True, 0.1), (False, 0.3)])
def test_a_network_is_read_back_from_an_int8_file(
    is_whole: bool, tolerance: float, published: Path, tmp_path: Path
) -> None:
    file = published / "model.int8.onnx" if is_whole else ROOT / "benchmarks" / "smaller.int8.onnx"
    subprocess.run([sys.executable, SCRIPT, file, tmp_path / "network.keras"], check=True)
    network = keras.saving.load_model(tmp_path / "network.keras")
    assert not any("bn" in layer.name for layer in network.get_layer("resnet50").layers)
    size = network.input.shape[1]
    images = np.stack([np.asarray(draw(kind, 900, size), np.uint8) for kind in ("cat", "dog", "room")])
    session = ort.InferenceSession(file, providers=["CPUExecutionProvider"])
    (expected,) = session.run(["logits"], {"image": images})
    # The file rounds what is between the layers as well; that of photographs cuts off what drawings alone have.
    np.testing.assert_allclose(network(images, training=False), expected, atol=tolerance * np.abs(expected).max())


def test_another_file_is_refused(tmp_path: Path) -> None:
    onnx.save(make_tiny_model(), tmp_path / "tiny.onnx")
    command: list[str | Path] = [sys.executable, SCRIPT, tmp_path / "tiny.onnx", tmp_path / "network.keras"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert (
        "tiny.onnx has no layer called logits: expected a file of catsdogs-export --int8"
        in done.stderr.splitlines()[-1]
    )
    assert not (tmp_path / "network.keras").exists()
