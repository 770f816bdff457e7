"""Two engines that catsdogs was not built on, as development tools."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from catsdogs_edge.images.decode import RgbBatch
from catsdogs_edge.model.scores import Scores

_WEB = Path(__file__).with_name("web")


def openvino_logits(model: Path, batch: RgbBatch) -> Scores:
    """Runs the file as it is on OpenVINO's CPU plugin, in float32 where the file says so."""
    import openvino  # noqa: PLC0415 - the environment of the fast tests has none

    compiled = openvino.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return np.concatenate([compiled(image[np.newaxis])["logits"] for image in batch])


class Web:
    """Runs the file as it is on onnxruntime-web (WebAssembly) in Node.

    Attributes:
        folder: Where it is installed.
    """

    def __init__(self, folder: Path) -> None:
        """Installs the package into `folder`, or skips the test where there is no Node.js."""
        if not (shutil.which("node") and shutil.which("npm")):
            pytest.skip("onnxruntime-web needs Node.js and npm")
        self.folder = folder
        for name in ("package.json", "run.mjs"):
            shutil.copy(_WEB / name, folder)
        command = ["npm", "install", "--ignore-scripts", "--no-package-lock", "--no-audit", "--no-fund"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    def logits(self, model: Path, batch: RgbBatch) -> Scores:
        """Returns the logits of uint8 RGB images (N, S, S, 3), shape (N, C)."""
        pixels = self.folder / "pixels.bin"
        batch.tofile(pixels)
        command: list[str | Path] = ["node", self.folder / "run.mjs", model, pixels, str(batch.shape[1])]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return np.array(json.loads(done.stdout), np.float32)
