"""The published files, unchanged, on engines that we did not build on, with the files' own test as the judge."""

import base64
import json
from pathlib import Path

import numpy as np
import onnx
import pytest

from catsdogs_edge.images.decode import RgbBatch, decode, resize
from catsdogs_edge.model import selftest
from catsdogs_edge.model.scores import Scores
from tests.conftest import RUN_SIZE
from tests.integration.engines import Web, openvino_logits

pytestmark = pytest.mark.slow


FILES = ["model.onnx", "model.int8.onnx"]


def own_test(model: Path) -> tuple[RgbBatch, Scores, float]:
    """Returns the images, the logits that they must give, and the tolerance."""
    metadata = {entry.key: entry.value for entry in onnx.load(model).metadata_props}
    entry = json.loads(metadata[selftest.SELFTEST_KEY])
    probes = list(entry["probes"].values())
    batch = np.stack([resize(decode(base64.b64decode(probe["file"])), RUN_SIZE) for probe in probes])
    return batch, np.array([probe["logits"] for probe in probes], np.float32), entry["tolerance"]


@pytest.mark.parametrize("name", FILES)
def test_openvino_passes_the_file_s_own_test(name: str, published: Path) -> None:
    batch, expected, tolerance = own_test(published / name)
    assert np.abs(openvino_logits(published / name, batch) - expected).max() <= tolerance


@pytest.mark.parametrize("name", FILES)
def test_onnxruntime_web_passes_the_file_s_own_test(name: str, published: Path, web: Web) -> None:
    batch, expected, tolerance = own_test(published / name)
    assert np.abs(web.logits(published / name, batch) - expected).max() <= tolerance
