"""The model that comes with the package; `weights/MODEL_CARD.md` describes it."""

from pathlib import Path

MODEL = Path(__file__).with_name("weights") / "catsdogs.int8.onnx"
"""Cat, dog or neither, INT8: what the commands take without `--model`."""
