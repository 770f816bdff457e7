"""Another execution provider than the CPU's, for real: OpenVINO's wheel of ONNX Runtime, in its own environment."""

import csv
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

from catsdogs_edge.images.drawings import write_folder
from catsdogs_edge.runtime.cpu import Cpu
from tests.conftest import install

HOUSE = Path(__file__).resolve().parents[2]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("tensorflow") is None or sys.platform != "linux" or sys.version_info >= (3, 14),
        reason="runs once, where a model is exported; OpenVINO's wheel is for x86-64 Linux",
    ),
]


@pytest.fixture(scope="module")
def openvino(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the console scripts of that environment."""
    folder = tmp_path_factory.mktemp("openvino") / "venv"
    return install(folder, "-c", HOUSE / "constraints.txt", "-e", f"{HOUSE}[edge-openvino]")


def labels(scripts: Path, images: Path, model: Path, *options: str) -> tuple[dict[str, str], str]:
    """Returns path -> label, and what was said."""
    done = subprocess.run(
        [scripts / "catsdogs-classify", images, "--model", model, "--csv", "-", *options],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return {row["path"]: row["label"] for row in csv.DictReader(done.stdout.splitlines())}, done.stderr


@pytest.mark.parametrize("name", ["model.onnx", "model.int8.onnx"])
def test_openvino_gives_the_labels_of_the_cpu(
    name: str, openvino: Path, scripts: Path, published: Path, tmp_path: Path
) -> None:
    write_folder(tmp_path / "images", per_class=6)
    model = published / name
    ours, _ = labels(scripts, tmp_path / "images", model)
    for options in (["--provider", "openvino"], ["--provider", "openvino", "--threads", "3"]):
        theirs, said = labels(openvino, tmp_path / "images", model, *options)
        assert "on OpenVINOExecutionProvider" in said
        assert theirs == ours
    _, said = labels(openvino, tmp_path / "images", model)
    assert f"on {'OpenVINO' if Cpu.detect().has_amx else 'CPU'}ExecutionProvider" in said


def test_the_doctor_passes_and_counts_every_operator_there(openvino: Path, published: Path) -> None:
    done = subprocess.run(
        [openvino / "catsdogs-doctor", "--model", published / "model.onnx", "--provider", "openvino", "--json"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    report = json.loads(done.stdout)
    assert report["machine"]["providers"] == {"cpu": "ok", "openvino": "ok"}
    assert report["model"]["operators"].keys() == {"OpenVINOExecutionProvider"}
    assert done.returncode == 0


def test_a_wheel_that_lacks_a_provider_is_named(openvino: Path, published: Path, tmp_path: Path) -> None:
    write_folder(tmp_path / "images", per_class=1)
    done = subprocess.run(
        [openvino / "catsdogs-classify", tmp_path, "--model", published / "model.onnx", "--provider", "cuda"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "CUDAExecutionProvider is missing: onnxruntime-openvino 1.24.1 has " in done.stderr
