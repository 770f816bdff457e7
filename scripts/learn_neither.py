"""Learns anew what is `neither`, for a network of which only the exported file is left, as of the one in the package.

    python scripts/read_back.py MODEL.onnx NETWORK.keras
    python scripts/learn_neither.py MODEL.onnx NETWORK.keras TRAIN... --val VAL --other OTHER --out RUN
    catsdogs-export RUN --int8

The network stays as it is: its familiarity is fitted again, by today's method, to images that it learned from, and the
threshold is set by those that validate. RUN holds what an export reads, and no more. Who has the run folder takes
`catsdogs-train --from`.
"""

import json
from pathlib import Path
from typing import Annotated

import msgspec
import numpy as np
import typer

from catsdogs_edge.errors import CatsDogsError, DataError, OutputError
from catsdogs_edge.images.decode import RgbBatch
from catsdogs_edge.model.contract import Contract, FamiliarityRule
from catsdogs_edge.model.onnx_file import read_onnx_file
from catsdogs_edge.output.files import atomic_files
from catsdogs_train.backend import set_up_keras
from catsdogs_train.data.outliers import find_outliers
from catsdogs_train.data.split import make_split
from catsdogs_train.network.familiarity import THRESHOLD, OutputLayer, attach
from catsdogs_train.network.features import Features, extract_features, make_extractor
from catsdogs_train.network.resnet import load_network
from catsdogs_train.run.run_folder import RUN_VERSION
from catsdogs_train.run.tables import write_split
from catsdogs_train.settings import ComputeDtype, Settings
from catsdogs_train.stages.context import make_batches
from catsdogs_train.stages.familiarity import fit_familiarity
from catsdogs_train.views.batches import ImageBatches


def main(
    model: Annotated[Path, typer.Argument(help="An INT8 file that catsdogs-export wrote.")],
    network: Annotated[Path, typer.Argument(help="What scripts/read_back.py made of it.")],
    train: Annotated[list[Path], typer.Argument(help="Images that the network learned from.")],
    val: Annotated[Path, typer.Option(help="Images that it did not learn from; these set the threshold.")],
    other: Annotated[Path, typer.Option(help="Images of neither, a folder for each kind.")],
    out: Annotated[Path, typer.Option(help="The folder to write, which must not exist.")],
    keep: Annotated[float, typer.Option(min=0.5, max=1, help="Share of images of the classes to keep.")] = 0.98,
) -> None:
    """Writes the folder."""
    set_up_keras(0)
    try:
        _learn(model, network, train, val, other, out, keep)
    except CatsDogsError as error:
        raise SystemExit(str(error)) from error


def _learn(model: Path, network: Path, train: list[Path], val: Path, other: Path, out: Path, keep: float) -> None:
    contract = Contract.from_metadata(read_onnx_file(model).metadata, str(model))
    if out.exists():
        raise OutputError(f"{out} exists: choose another --out, or remove it")
    read = load_network(network, contract.image_size, ComputeDtype.FLOAT32)
    split = make_split(train, val=val, train_size=None, val_size=None, seed=0)
    if split.classes != contract.classes:
        found, expected = ", ".join(split.classes), ", ".join(contract.classes)
        raise DataError(f"the images have the classes {found}, {model} has {expected}")
    outliers, _ = find_outliers([other], [*split.train, *split.val], 0)
    settings = Settings(data=train, out=out, image_size=contract.image_size, keep=keep)
    extractor = make_extractor(read)

    def extract(batches: ImageBatches | RgbBatch) -> Features:
        return extract_features(extractor, batches, [])

    val_features = extract(make_batches(settings, split.val))
    head = OutputLayer(*read.get_layer("logits").get_weights())
    fit = fit_familiarity(
        settings, split.train, outliers, val_features, head, extract, judging=[], is_tuned=True
    )  # fmt: skip
    logits = head.logits(val_features)
    described = {
        "version": RUN_VERSION,
        "classes": split.classes,
        "image_size": contract.image_size,
        "temperature": contract.temperature,
        "best_epoch": {"val_accuracy": float(np.mean(logits.argmax(1) == [sample.label for sample in split.val]))},
        "familiarity": msgspec.to_builtins(
            FamiliarityRule(threshold=THRESHOLD, target_recall=keep, method=fit.detector.method, outliers=len(outliers))
        ),
        "blocks": contract.blocks,
    }
    with atomic_files(out) as folder:
        attach(read, fit.detector).save(folder / "model.keras")
        (folder / "run.json").write_text(json.dumps(described, indent=2) + "\n", encoding="utf-8")
        write_split(folder, split)


if __name__ == "__main__":
    typer.run(main)
