"""A contract for models that tests make."""

from msgspec.structs import replace

from catsdogs_edge.model.contract import Contract, FamiliarityRule, Precision, TrainingInfo

CONTRACT = Contract(
    classes=("cat", "dog"),
    image_size=224,
    precision=Precision.FP32,
    keras_sha256="f" * 64,
    training=TrainingInfo(images=2, val_images=2, val_accuracy=0.5, split_sha256="e" * 64),
)

RULE = FamiliarityRule(threshold=0.5, target_recall=0.98, method="how far red is from blue", outliers=0)

FAMILIAR = replace(CONTRACT, familiarity=RULE)
