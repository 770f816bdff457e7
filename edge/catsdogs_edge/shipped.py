"""The model that comes with the package; `models/MODEL_CARD.md` says what it is."""

from pathlib import Path

MODEL = Path(__file__).with_name("models") / "catsdogs.int8.onnx"
"""Cat, dog or neither, INT8: what the commands take without `--model`."""
