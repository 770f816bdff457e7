"""Lists the installed wheels that matter here, and finds those that overwrite each other's files."""

import re

# Wheels of one family bring the same files: two of them overwrite each other's
_FAMILIES = {"onnxruntime": "ONNX Runtime", "opencv": "OpenCV"}
_NO_RIVALS = ("onnxruntime-extensions", "onnxruntime-genai", "onnxruntime-ep-")  # bring files of their own
_SHOWN = (
    "catsdogs", "numpy", "onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino", "opencv-python",
    "opencv-python-headless", "keras", "tensorflow", "tf2onnx",
)  # fmt: skip


def versions() -> dict[str, str]:
    """Returns the versions of the installed wheels that make a difference, this one's first."""
    from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415 - 30 ms that only who asks should wait

    found = {}
    for name in _SHOWN:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def installed_wheels() -> dict[str, list[str]]:
    """Lists the installed wheels of ONNX Runtime and OpenCV with their versions, by family."""
    from importlib.metadata import distributions  # noqa: PLC0415 - likewise

    found: dict[str, set[str]] = {family: set() for family in _FAMILIES.values()}
    for distribution in distributions():
        name = re.sub(r"[-_.]+", "-", distribution.metadata["Name"] or "").lower()
        for start, family in _FAMILIES.items():
            if name.startswith(start) and not name.startswith(_NO_RIVALS):
                found[family].add(f"{name} {distribution.version}")
    return {family: sorted(names) for family, names in found.items()}


def wheel_conflicts() -> list[str]:
    """Returns a line of advice for each family of which two wheels are installed."""
    return [
        f"{' and '.join(names)} overwrite each other's files: "
        f"pip uninstall -y {' '.join(name.split()[0] for name in names)}, then install the one that you need"
        for names in installed_wheels().values()
        if len(names) > 1
    ]
