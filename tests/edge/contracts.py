"""A contract for models that tests make."""

from catsdogs_edge.contract import Contract, Precision, Training

CONTRACT = Contract(("cat", "dog"), 224, Precision.FP32, "f" * 64, Training(2, 2, 0.5, "e" * 64))
