"""Who may know whom: each package's modules, imported where the others are blocked."""

import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("tensorflow", reason="the edge environment holds only one of the three packages' needs")

HOUSE = Path(__file__).resolve().parents[1]
BLOCKED = {
    "edge": ("tensorflow", "keras", "tf2onnx", "onnx", "matplotlib", "catsdogs_train", "catsdogs_export"),
    "export": ("catsdogs_train",),
    "train": ("catsdogs_export", "tf2onnx", "onnx", "onnxruntime"),
}


@pytest.mark.parametrize("room", BLOCKED)
def test_no_package_needs_what_it_must_not_know(room: str) -> None:
    names = [module.name for module in pkgutil.iter_modules([str(HOUSE / room / f"catsdogs_{room}")])]
    assert len(names) > 5
    imports = "; ".join(f"import catsdogs_{room}.{name}" for name in names)
    code = f"import sys; sys.modules.update(dict.fromkeys({BLOCKED[room]!r})); {imports}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
