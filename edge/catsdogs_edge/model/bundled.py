"""The model that comes with the package; `weights/MODEL_CARD.md` describes it."""

from pathlib import Path

MODEL = Path(__file__).with_name("weights") / "catsdogs.int8.onnx"
"""The INT8 model that the commands take without `--model`: cat, dog or neither."""
