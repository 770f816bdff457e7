"""What all tests share."""

import importlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # JAX sets it to 1, and commands that tests start inherit it

signal.signal(signal.SIGINT, signal.default_int_handler)  # in a background job it is ignored, by commands of tests, too

SHARED = Path(__file__).resolve().parents[2] / "shared"


def pytest_report_header() -> list[str]:
    versions = []
    for name in (
        "onnxruntime",
        "opencv-python",
        "opencv-python-headless",
        "tensorflow",
        "keras",
        "tf2onnx",
        "onnx",
    ):
        try:
            versions.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    providers = importlib.import_module("onnxruntime").get_available_providers()
    real = "found" if SHARED.is_dir() else "missing: tests marked 'shared' are skipped"
    return [f"{', '.join(versions)}", f"providers: {', '.join(providers)}", f"real images: {real}"]


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The user's cache folder, away from the real one; commands that tests start find it, too."""
    folder = tmp_path_factory.mktemp("cache")
    before = os.environ.get("XDG_CACHE_HOME")
    os.environ["XDG_CACHE_HOME"] = str(folder)
    yield folder
    if before is None:
        del os.environ["XDG_CACHE_HOME"]
    else:
        os.environ["XDG_CACHE_HOME"] = before


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real images and weights beside the checkout."""
    if not SHARED.is_dir():
        pytest.skip("the real images are not on this machine (no ../shared beside the checkout)")
    return SHARED


@pytest.fixture(scope="session")
def scripts() -> Path:
    """Folder of the installed console scripts."""
    return Path(sys.executable).parent


@pytest.fixture(scope="session")
def drawings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 20 drawn cats and 20 drawn dogs."""
    folder = tmp_path_factory.mktemp("drawings")
    importlib.import_module("catsdogs_edge.images.drawings").write_folder(folder, per_class=20)
    return folder


@pytest.fixture(scope="session")
def run_folder(drawings: Path, scripts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `catsdogs-train` makes of the drawings, with random weights, in one epoch."""
    out = tmp_path_factory.mktemp("train") / "run"
    command: list[str | Path] = [
        scripts / "catsdogs-train",
        drawings,
        "--out",
        out,
        "--weights",
        "none",
        "--epochs",
        "1",
    ]
    done = subprocess.run([*command, "--batch-size", "8"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (out / "printed.txt").write_text(done.stdout + done.stderr)
    return out


@pytest.fixture(scope="session")
def published(run_folder: Path, scripts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `catsdogs-export --int8` makes of that run."""
    out = tmp_path_factory.mktemp("export") / "out"
    command: list[str | Path] = [scripts / "catsdogs-export", run_folder, "--int8", "--out", out]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (out / "printed.txt").write_text(done.stdout + done.stderr)
    return out
