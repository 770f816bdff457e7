"""Which commands there are, and the versions of what they run on."""

import platform
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

_COMMANDS = {
    "catsdogs-classify": ("edge", "pictures and folders of pictures: cat, dog or neither"),
    "catsdogs-cam": ("edge", "the same for cameras, streams and videos"),
    "catsdogs-bench": ("edge", "latency of each step, threads, folders and memory on this machine"),
    "catsdogs-doctor": ("edge", "what this machine offers, and a model's own test on it"),
    "catsdogs-train": ("train", "a network of your own from pictures"),
    "catsdogs-export": ("export", "ONNX and INT8 from it, each compared with what it was made from"),
    "catsdogs-eval": ("export", "accuracy, calibration and speed of a model on labelled pictures"),
}
"""What each does, and the extra that brings what it needs."""

_NEEDED = {"edge": ("cv2", "onnxruntime"), "train": ("keras",), "export": ("tensorflow", "onnx", "tf2onnx")}

_WHEELS = (
    "catsdogs",
    "numpy",
    "onnxruntime",
    "onnxruntime-gpu",
    "onnxruntime-openvino",
    "opencv-python",
    "opencv-python-headless",
    "keras",
    "tensorflow",
    "tf2onnx",
)


def describe_commands() -> str:
    """Gives a line for each command."""
    lines = []
    for name, (extra, what) in _COMMANDS.items():
        here = all(find_spec(module) for module in _NEEDED[extra])
        lines.append(f"{name:<18} {what}" + ("" if here else f" (needs pip install 'catsdogs[{extra}]')"))
    return "\n".join([*lines, "", "Each says more with --help; start with: catsdogs-classify PICTURES"])


def versions() -> dict[str, str]:
    """Gives the version of each wheel that is installed, of those that make a difference; this one first."""
    return {name: version(name) for name in _WHEELS if _is_installed(name)}


def describe_versions() -> str:
    """Gives a line for each of them, and for Python."""
    lines = [f"{name} {number}" for name, number in versions().items()]
    return "\n".join([*lines, f"Python {platform.python_version()} on {platform.system()} {platform.machine()}"])


def _is_installed(name: str) -> bool:
    try:
        version(name)
    except PackageNotFoundError:
        return False
    return True
