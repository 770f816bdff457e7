"""Explains why an execution provider is missing or does not work here."""

import ctypes
import sys

import onnxruntime as ort

from catsdogs_edge.runtime.providers import Provider
from catsdogs_edge.runtime.wheels import installed_wheels, wheel_conflicts

_CUDA_MAJORS = range(11, 16)
_DRIVER = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"


def why_missing(provider: Provider) -> str:
    """Explains why this ONNX Runtime does not have a provider, and what to install."""
    installed = ", ".join(installed_wheels()["ONNX Runtime"]) or f"onnxruntime {ort.__version__}"
    has = ", ".join(ort.get_available_providers())
    advice = {
        Provider.CUDA: "in a fresh environment, install catsdogs with the extra edge-cuda instead of edge",
        Provider.TENSORRT: "in a fresh environment, install catsdogs with the extra edge-cuda, and TensorRT",
        Provider.OPENVINO: "in a fresh environment, install catsdogs with the extra edge-openvino",
        Provider.DIRECTML: "in a fresh environment on Windows, install the wheel onnxruntime-directml",
    }.get(provider, "another wheel or build of ONNX Runtime has it")
    return "; ".join([*wheel_conflicts(), f"{provider.onnx_name} is missing: {installed} has {has}; {advice}"])


def why_not_cuda(missing: list[str], said: str = "") -> str:
    """Explains what CUDA, or TensorRT on it, lacks here: libraries that did not load, or what was raised."""
    if found := wheel_conflicts():
        return "; ".join(found)
    driver = _driver_major()
    if driver is None:
        reason = f"there is no NVIDIA driver ({_DRIVER} cannot be loaded; nvidia-smi should list a GPU)"
        return f"{reason}; {', '.join(missing)} cannot be loaded either" if missing else reason
    major = str(getattr(ort, "cuda_version", "") or "").split(".")[0]
    wanted = int(major) if major.isdecimal() else 0  # the wheel need not say
    if wanted and driver < wanted:
        return f"this wheel needs CUDA {wanted}, the NVIDIA driver is for CUDA {driver}: update the driver"
    if not missing:
        if said and "CUDA failure" not in said:
            return " ".join(said.rpartition("&) ")[2].split())  # behind where in its source it was
        return "the driver finds no GPU that it can use (see nvidia-smi)"
    words = f"{', '.join(missing)} cannot be loaded"
    if any(name.startswith("libcublas.so.") for name in missing):
        others = [str(major) for major in _CUDA_MAJORS if f"libcublas.so.{major}" not in missing and _loads(major)]
        words += f", but CUDA {', '.join(others)} is here: this wheel is for CUDA {wanted or 13}" if others else ""
    return f"{words}; pip install 'onnxruntime-gpu[cuda,cudnn]' brings the libraries"


def _driver_major() -> int | None:
    """Returns the newest CUDA version that the driver knows; None without a driver."""
    try:
        driver = ctypes.CDLL(_DRIVER)
    except OSError:
        return None
    version = ctypes.c_int()
    driver.cuDriverGetVersion(ctypes.byref(version))
    return version.value // 1000


def _loads(major: int) -> bool:
    try:
        ctypes.CDLL(f"libcublas.so.{major}")
    except OSError:
        return False
    return True
