"""A contract for models that tests make."""

from dataclasses import replace

from catsdogs_edge.contract import Contract, Familiarity, Precision, Training

CONTRACT = Contract(("cat", "dog"), 224, Precision.FP32, "f" * 64, Training(2, 2, 0.5, "e" * 64))

FAMILIAR = replace(CONTRACT, familiarity=Familiarity(0.5, 0.98, "how far red is from blue", 0))
