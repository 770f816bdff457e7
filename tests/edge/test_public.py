"""What others may rely on, and what the edge must never need."""

import importlib
import os
import pkgutil
import subprocess
import sys
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import pytest

import catsdogs_edge

WORKSTATION_ONLY = (
    "tensorflow",
    "keras",
    "tf2onnx",
    "onnx",
    "matplotlib",
    "catsdogs_train",
    "catsdogs_export",
    "scipy",
    "sklearn",
)


ON_ARROW = ("manifest", "ray_job", "storage")


def test_public_names() -> None:
    assert catsdogs_edge.__all__ == [
        "BatchClassifier", "CatsDogsError", "Classifier", "Contract", "FrameResult", "Prediction", "Provider",
        "__version__", "classify_stream", "decode", "read",
    ]  # fmt: skip
    for name in catsdogs_edge.__all__:
        if name != "__version__":
            assert getattr(catsdogs_edge, name).__module__.startswith("catsdogs_edge.")
    assert catsdogs_edge.__version__ == version("catsdogs")


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nothing"):
        importlib.import_module("catsdogs_edge").nothing  # noqa: B018


def run_python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_the_edge_works_without_the_workstation_s_packages() -> None:
    names = [module.name for module in pkgutil.walk_packages(catsdogs_edge.__path__, "catsdogs_edge.")]
    assert len(names) > 60
    if not find_spec("pyarrow"):  # `make test` has none; the slow tests, which have it, import the rest
        names = [name for name in names if name not in {f"catsdogs_edge.cluster.{name}" for name in ON_ARROW}]
    blocked = f"import sys; sys.modules.update(dict.fromkeys({WORKSTATION_ONLY!r}))"  # None makes an import fail
    done = run_python(f"{blocked}; import {', '.join(names)}")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("command", ["classify", "cam", "bench", "doctor", "overview"])
def test_help_loads_neither_opencv_nor_onnx_runtime(command: str) -> None:
    slow = {"cv2", "onnxruntime", "numpy", "tempfile", "ctypes"}
    done = run_python(
        f"import sys; sys.argv = ['x', '--help']\nfrom catsdogs_edge.cli import {command}\n"
        f"try: {command}.main()\nfinally: print({slow} & set(sys.modules))"
    )
    assert done.returncode == 0, done.stderr
    assert "Usage:" in done.stdout
    assert done.stdout.strip().endswith("set()")


@pytest.mark.parametrize("command", ["catsdogs-classify", "catsdogs-cam"])
def test_what_a_whole_run_imports(command: str, scripts: Path, album: Path, tiny: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", scripts / command, album / "a cat.png", "--model", tiny],
        capture_output=True, text=True, check=False,
        env=os.environ | {"OPENCV_LOG_LEVEL": "OFF"},  # set by the user: then native messages are not hidden
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    modules = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    imported = {name.partition(".")[0] for name in modules}
    assert "importlib.metadata" not in modules  # 30 ms
    assert {"cv2", "onnxruntime", "numpy"} <= imported
    assert not imported & {*WORKSTATION_ONLY, "pydantic", "rich"}
