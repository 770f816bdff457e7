"""Wheels and libraries that are in each other's way or missing, as files made here."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from catsdogs_edge.runtime.diagnosis import why_not_cuda
from catsdogs_edge.runtime.wheels import installed_wheels, wheel_conflicts
from tests.edge.conftest import no_cuda


def install(site: Path, name: str, version: str) -> None:
    """Leaves what pip's record of a wheel looks like."""
    folder = site / f"{name.replace('-', '_')}-{version}.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")


def test_two_wheels_of_one_kind_are_named_with_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, version in (("onnxruntime", "1.31.1"), ("onnxruntime-gpu", "1.31.1"), ("onnxruntime-extensions", "0.14")):
        install(tmp_path, name, version)
    install(tmp_path, "opencv_python", "5.0.0.93")
    install(tmp_path, "opencv-python-headless", "4.14.0.94")
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    assert installed_wheels() == {
        "ONNX Runtime": ["onnxruntime 1.31.1", "onnxruntime-gpu 1.31.1"],
        "OpenCV": ["opencv-python 5.0.0.93", "opencv-python-headless 4.14.0.94"],
    }
    first, second = wheel_conflicts()
    assert first.startswith("onnxruntime 1.31.1 and onnxruntime-gpu 1.31.1 overwrite each other's files: pip uninstall")
    assert "pip uninstall -y opencv-python opencv-python-headless" in second
    assert why_not_cuda([]) == f"{first}; {second}"


def test_this_environment_has_one_of_each() -> None:
    assert all(len(names) == 1 for names in installed_wheels().values())
    assert wheel_conflicts() == []


@no_cuda
def test_without_a_driver_that_is_said() -> None:
    assert "there is no NVIDIA driver" in why_not_cuda([])


@pytest.mark.skipif(shutil.which("cc") is None or sys.platform != "linux", reason="needs a C compiler and Linux")
@pytest.mark.parametrize(
    ("driver", "libraries", "missing", "said", "expected"),
    [
        (12020, [], [], "", "this wheel needs CUDA 13, the NVIDIA driver is for CUDA 12: update the driver"),
        (13000, [], [], "", "the driver finds no GPU that it can use"),
        (
            13000, [], [],
            "/src/state.cc:729 void onnxruntime::python::Register(PySessionOptions&, const ProviderOptions&) Please "
            "install TensorRT libraries.\n",
            "Please install TensorRT libraries.\n",
        ),
        (
            13000, [], [],
            "/src/cuda_call.cc:129 std::conditional_t<THRW, void, Status> CudaCall(ERRTYPE, const char*, int) [with "
            "ERRTYPE = cudaError] CUDA failure 100: no CUDA-capable device is detected ; GPU=-1",
            "the driver finds no GPU that it can use",
        ),
        (13000, [], ["libcudnn.so.9"], "", "libcudnn.so.9 cannot be loaded; pip install 'onnxruntime-gpu[cuda,cudnn]'"),
        (
            13000, ["libcublas.so.12"], ["libcublas.so.13"], "",
            "libcublas.so.13 cannot be loaded, but CUDA 12 is here: this wheel is for CUDA 13",
        ),
    ],
)  # fmt: skip
def test_what_cuda_lacks(
    driver: int, libraries: list[str], missing: list[str], said: str, expected: str, tmp_path: Path
) -> None:
    """With libraries built here that answer as NVIDIA's would."""
    source = tmp_path / "driver.c"
    source.write_text(f"int cuDriverGetVersion(int *version) {{ *version = {driver}; return 0; }}\n")
    for name in ("libcuda.so.1", *libraries):
        subprocess.run(["cc", "-shared", "-fPIC", "-o", tmp_path / name, source], check=True)
    code = (
        "import onnxruntime; onnxruntime.cuda_version = '13.0'\n"
        f"from catsdogs_edge.runtime.diagnosis import why_not_cuda; print(why_not_cuda({missing!r}, {said!r}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        env={"LD_LIBRARY_PATH": str(tmp_path), "PATH": "/usr/bin"},
    )  # fmt: skip
    assert done.stdout.startswith(expected)
