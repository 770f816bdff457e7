"""Ultralytics' own pipeline: its ResNet50, exported by it to OpenVINO INT8, and its `predict` on files.

It imports PyTorch, so it has an environment of its own, without catsdogs:

    python -m venv ENV && ENV/bin/pip install torch torchvision ultralytics openvino nncf onnx
    ENV/bin/python benchmarks/ultralytics_pipeline.py prepare train/ FOLDER

after which `benchmarks.pipelines compare` takes it along. The weights are random: what it costs does not depend on
them, and what it answers is not looked at.
"""

import os
import shutil
import sys
import tempfile
from pathlib import Path

os.environ["YOLO_AUTOINSTALL"] = "False"
os.environ.setdefault("YOLO_CONFIG_DIR", tempfile.gettempdir())

_NETWORK = "yolov8-cls-resnet50.yaml"
_SIZE = 224
_CALIBRATION = 300


def prepare(images: Path, folder: Path) -> None:
    """Exports it twice: for one image at a time, and for any batch.

    Args:
        images: To calibrate on, a folder for each class.
        folder: For the models.
    """
    from ultralytics import YOLO  # noqa: PLC0415

    kinds = sorted(path for path in images.iterdir() if path.is_dir())
    for kind in kinds:
        for part in ("train", "val"):
            (folder / "data" / part / kind.name).mkdir(parents=True, exist_ok=True)
            for path in sorted(kind.iterdir())[: _CALIBRATION // len(kinds)]:
                link = folder / "data" / part / kind.name / path.name
                link.unlink(missing_ok=True)
                link.symlink_to(path.resolve())
    data = (folder / "data").resolve()
    os.chdir(folder)
    for name, options in (("one", {}), ("batch", {"dynamic": True, "batch": 16})):
        made = YOLO(_NETWORK).export(
            format="openvino", imgsz=_SIZE, quantize=8, data=str(data), split="train", **options
        )
        shutil.rmtree(f"{name}_openvino_model", ignore_errors=True)
        shutil.move(made, f"{name}_openvino_model")


def work(folder: Path, name: str, what: Path) -> None:
    """Predicts for files, and prints a label for each.

    Args:
        folder: With the models.
        name: `one` or `batch`.
        what: An image or a folder of images.
    """
    from ultralytics import YOLO  # noqa: PLC0415

    model = YOLO(folder / f"{name}_openvino_model", task="classify")
    options = {"batch": 16} if name == "batch" else {}
    for result in model.predict(what, imgsz=_SIZE, stream=True, verbose=False, **options):
        sys.stdout.write(f"{result.path},{result.probs.top1}\n")


if __name__ == "__main__":
    command, *given = sys.argv[1:]
    if command == "prepare":
        prepare(*map(Path, given))
    else:
        work(Path(given[0]), given[1], Path(given[2]))
