"""Explains why an execution provider is missing or does not work here."""

import ctypes
import re

import onnxruntime as ort

from catsdogs_edge.providers import Provider

_FAMILIES = {"onnxruntime": "ONNX Runtime", "opencv": "OpenCV"}
"""Wheels whose names begin so bring the same files: two of them overwrite each other's."""

_NO_RIVALS = ("onnxruntime-extensions", "onnxruntime-genai", "onnxruntime-ep-")
"""Begin so, too, but bring files of their own."""

_CUDA_MAJORS = range(11, 16)


def wheels() -> dict[str, list[str]]:
    """Lists the installed wheels of ONNX Runtime and OpenCV with their versions, by family."""
    from importlib.metadata import distributions  # noqa: PLC0415 - 30 ms that only those who ask should wait

    found: dict[str, set[str]] = {family: set() for family in _FAMILIES.values()}
    for distribution in distributions():
        name = re.sub(r"[-_.]+", "-", distribution.metadata["Name"] or "").lower()
        for start, family in _FAMILIES.items():
            if name.startswith(start) and not name.startswith(_NO_RIVALS):
                found[family].add(f"{name} {distribution.version}")
    return {family: sorted(names) for family, names in found.items()}


def conflicts() -> list[str]:
    """Says for each family of which two wheels are installed what to do."""
    return [
        f"{' and '.join(names)} overwrite each other's files: "
        f"pip uninstall -y {' '.join(name.split()[0] for name in names)}, then install the one that you need"
        for names in wheels().values()
        if len(names) > 1
    ]


def why_missing(provider: Provider) -> str:
    """Says why this ONNX Runtime does not have a provider, and what to install."""
    installed = ", ".join(wheels()["ONNX Runtime"]) or f"onnxruntime {ort.__version__}"
    has = ", ".join(ort.get_available_providers())
    advice = {
        Provider.CUDA: "in a fresh environment, install 'catsdogs[edge-cuda]' instead of 'catsdogs[edge]'",
        Provider.TENSORRT: "in a fresh environment, install 'catsdogs[edge-cuda]' and TensorRT",
        Provider.OPENVINO: "in a fresh environment, install 'catsdogs[edge-openvino]'",
        Provider.DIRECTML: "in a fresh environment on Windows, install the wheel onnxruntime-directml",
    }.get(provider, "another wheel or build of ONNX Runtime has it")
    return "; ".join([*conflicts(), f"{provider.onnx_name} is missing: {installed} has {has}; {advice}"])


def why_not_cuda(missing: list[str], said: str = "") -> str:
    """Says what CUDA, or TensorRT on it, lacks here.

    Args:
        missing: Libraries that ONNX Runtime could not load, such as `libcublas.so.13`.
        said: What ONNX Runtime raised, for want of a better reason.
    """
    if found := conflicts():
        return "; ".join(found)
    driver = _driver_major()
    if driver is None:
        reason = "there is no NVIDIA driver (libcuda.so.1 cannot be loaded; nvidia-smi should list a GPU)"
        return f"{reason}; {', '.join(missing)} cannot be loaded either" if missing else reason
    wanted = _major_of_wheel()
    if wanted and driver < wanted:
        return f"this wheel needs CUDA {wanted}, the NVIDIA driver is for CUDA {driver}: update the driver"
    if not missing:
        if said and "CUDA failure" not in said:
            return " ".join(said.rpartition("&) ")[2].split())  # behind where in its source it was
        return "the driver finds no GPU that it can use (see nvidia-smi)"
    words = f"{', '.join(missing)} cannot be loaded"
    if others := _other_majors(missing):
        words += f", but CUDA {', '.join(map(str, others))} is here: this wheel is for CUDA {wanted or 13}"
    return f"{words}; pip install 'onnxruntime-gpu[cuda,cudnn]' brings the libraries"


def _major_of_wheel() -> int:
    """Gives the CUDA version that the wheel was built for; 0 if it does not say."""
    major = str(getattr(ort, "cuda_version", "") or "").split(".")[0]
    return int(major) if major.isdecimal() else 0


def _driver_major() -> int | None:
    """Gives the newest CUDA version that the driver knows; None without a driver."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None
    version = ctypes.c_int()
    driver.cuDriverGetVersion(ctypes.byref(version))
    return version.value // 1000


def _other_majors(missing: list[str]) -> list[int]:
    """Finds versions of CUDA that are installed, of which the wheel wants another."""
    if not any(name.startswith("libcublas.so.") for name in missing):
        return []
    return [major for major in _CUDA_MAJORS if f"libcublas.so.{major}" not in missing and _loads(major)]


def _loads(major: int) -> bool:
    try:
        ctypes.CDLL(f"libcublas.so.{major}")
    except OSError:
        return False
    return True
