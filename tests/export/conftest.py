"""A run folder around a network so small that a whole export takes seconds."""

import csv
import json
from pathlib import Path

import keras
import numpy as np
import pytest

from catsdogs_edge.images.decode import load_batch
from catsdogs_edge.images.drawings import PETS, write_folder
from catsdogs_edge.output.files import sha256

SIZE = 64


@pytest.fixture(scope="session")
def small_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `catsdogs-train` would write, with eight convolutions at 64 pixels, trained for a moment."""
    keras.utils.set_random_seed(0)
    folder = tmp_path_factory.mktemp("small")
    write_folder(folder / "images", per_class=36)
    image = keras.Input((SIZE, SIZE, 3), dtype="uint8", name="image")
    features = keras.layers.Rescaling(1.0, [-123.68, -116.779, -103.939])(image)
    for filters in (8, 16, 24, 32):
        features = keras.layers.Conv2D(filters, 3, padding="same", strides=2, activation="relu")(features)
        features = keras.layers.Conv2D(filters, 3, padding="same", activation="relu")(features)
    features = keras.layers.GlobalAveragePooling2D()(features)
    network = keras.Model(image, keras.layers.Dense(2, name="logits")(features))
    network.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    parts = {"train": range(12), "val": range(12, 36)}
    paths = {part: [folder / "images" / kind / f"{seed}.png" for kind in PETS for seed in seeds]
             for part, seeds in parts.items()}  # fmt: skip
    data = {
        part: (load_batch(files, SIZE), np.array([PETS.index(path.parent.name) for path in files]))
        for part, files in paths.items()
    }
    network.fit(*data["train"], epochs=12, batch_size=4, verbose=0)
    _, accuracy = network.evaluate(*data["val"], verbose=0)
    assert accuracy >= 0.9
    run = folder / "run"
    run.mkdir()
    network.save(run / "model.keras")
    best = {"val_accuracy": accuracy}
    described = {"version": 1, "classes": PETS, "image_size": SIZE, "temperature": 1.0, "best_epoch": best}
    (run / "run.json").write_text(json.dumps(described))
    with (run / "split.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["set", "label", "path", "sha256"])
        for part, files in paths.items():
            writer.writerows([part, path.parent.name, path, sha256(path)] for path in files)
    return run
