"""What all tests share."""

import importlib
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

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
    return [f"{', '.join(versions)}", f"providers: {', '.join(providers)}", f"real pictures: {real}"]


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real pictures and weights beside the checkout."""
    if not SHARED.is_dir():
        pytest.skip("the real pictures are not on this machine (no ../shared beside the checkout)")
    return SHARED


@pytest.fixture(scope="session")
def scripts() -> Path:
    """Folder of the installed console scripts."""
    return Path(sys.executable).parent
