import csv
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from catsdogs_edge.errors import DataError, OutputError
from catsdogs_edge.images.drawings import write_folder
from catsdogs_train import train as fit
from catsdogs_train.data.outliers import HELD_OUT, choose_exposed, find_outliers
from catsdogs_train.network.familiarity import FamiliarityFit
from catsdogs_train.network.resnet import build_network
from catsdogs_train.run.checkpoint import Checkpoint
from catsdogs_train.run.history import Epoch, Stage, TrainingState
from catsdogs_train.run.run_folder import RunFolderWriter
from catsdogs_train.settings import ComputeDtype, Settings, Unfreeze
from catsdogs_train.stages import familiarity, training
from catsdogs_train.stages.familiarity import fit_familiarity
from catsdogs_train.views.batches import ImageBatches


@pytest.fixture(scope="module")
def images(small_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fine-tuning") / "images"
    write_folder(folder, per_class=10)
    folder.with_name("weights.keras").symlink_to(small_weights)
    return folder


@pytest.fixture
def state(monkeypatch: pytest.MonkeyPatch) -> list[TrainingState]:
    """Where trainings stand when they are done."""
    kept: list[TrainingState] = []
    monkeypatch.setattr(Checkpoint, "remove", lambda checkpoint: kept.append(checkpoint.load()))
    return kept


def ask(images: Path, out: Path, **more: object) -> Settings:
    weights = str(images.with_name("weights.keras"))
    base = Settings(data=[images], out=out, weights=weights, val_size=8, image_size=32, batch_size=4, views=1, seed=1)
    return replace(base, **more)  # type: ignore[arg-type]


@pytest.mark.slow
def test_only_the_unfrozen_part_and_the_output_layer_change(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Epoch, "is_better_than", lambda *_: True)  # the last epoch is kept, good or bad
    settings = ask(images, tmp_path / "run", epochs=1, fine_tune_epochs=2, unfreeze=Unfreeze.CONV5, mixup=0.2)
    assert fit.train(settings).epoch == 3
    after = keras.saving.load_model(settings.out / "model.keras", compile=False)
    keras.utils.set_random_seed(1)
    before = build_network(2, settings.weights, 32)
    changed = {
        layer.name
        for layer, other in zip(layers(after), layers(before), strict=True)
        if any(not np.array_equal(*pair) for pair in zip(layer.get_weights(), other.get_weights(), strict=True))
    }
    convolutions = {
        layer.name for layer in layers(before) if layer.name.startswith("conv5") and "conv" in layer.name[5:]
    }
    assert changed == convolutions | {"logits"}


@pytest.mark.slow
def test_it_goes_on_from_an_earlier_run_on_views_of_another_size(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Epoch, "is_better_than", lambda *_: True)
    first = ask(images, tmp_path / "first", epochs=1, fine_tune_epochs=1, unfreeze=Unfreeze.CONV5)
    fit.train(first)
    again = replace(first, out=tmp_path / "again", weights=str(first.out / "model.keras"), fine_tune_epochs=0)
    fit.train(again)
    other_seed = replace(again, out=tmp_path / "other seed", seed=first.seed + 1)
    fit.train(other_seed)
    assert (other_seed.out / "split.csv").read_text() == (first.out / "split.csv").read_text()  # all stay on their side
    networks = [keras.saving.load_model(run.out / "model.keras", compile=False) for run in (first, again)]
    for before, after in zip(*map(layers, networks), strict=True):
        same = all(map(np.array_equal, before.get_weights(), after.get_weights()))
        assert same == (before.name != "logits")
    larger = replace(again, out=tmp_path / "larger", fine_tune_epochs=1, fine_tune_size=64, fine_tune_rate=1e-3)
    sizes = set()
    show = ImageBatches.__getitem__

    def watch(batches: ImageBatches, index: int) -> object:
        batch = show(batches, index)
        sizes.add(batch[0].shape[1])
        return batch

    monkeypatch.setattr(ImageBatches, "__getitem__", watch)
    fit.train(larger)
    assert sizes == {32, 64}
    moved = keras.saving.load_model(larger.out / "model.keras", compile=False)
    assert moved.input.shape[1:] == (32, 32, 3)


@pytest.mark.slow
def test_images_of_neither_teach_that_no_class_is_right(
    images: Path, rooms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[tuple[int, int], int] = {}  # by epoch and batch, which Keras may ask for twice
    get = ImageBatches.__getitem__

    def watch(batches: ImageBatches, index: int) -> object:
        pixels, targets, weights = get(batches, index)
        if batches._shuffle:
            of_neither = (targets == 0.5).all(axis=1)
            seen[batches._viewing.view, index] = int(of_neither.sum())
            np.testing.assert_array_equal(weights[of_neither], 0.5)
        return pixels, targets, weights

    def fit_watched(*arguments: Any, **named: Any) -> FamiliarityFit:
        assert named["is_tuned"]  # training images, which the backbone knows, do not speak for others
        return fit_familiarity(*arguments, **named)

    monkeypatch.setattr(ImageBatches, "__getitem__", watch)
    monkeypatch.setattr(familiarity, "fit_familiarity", fit_watched)
    settings = ask(images, tmp_path / "run", epochs=1, fine_tune_epochs=2, other=rooms)
    fit.train(settings)
    outliers, _ = find_outliers([rooms], [], settings.seed)
    exposed = choose_exposed(outliers, train_count=12)
    for epoch in (1, 2):
        assert sum(count for (view, _), count in seen.items() if view == epoch) == len(exposed)
    history = (settings.out / "history.csv").read_text()
    shares = {round(12 * float(row["accuracy"]), 3) for row in csv.DictReader(history.splitlines())}
    assert all(share.is_integer() for share in shares)  # of the 12 images with a label alone
    judged = len([sample for sample in outliers if sample.label == HELD_OUT])
    assert f"% of {judged} (95 %" in (settings.out / "report.md").read_text()


def layers(network: keras.Model) -> list[keras.layers.Layer]:
    pooling = keras.layers.GlobalAveragePooling2D  # the saved one has another, for familiarity
    inside = [layer for layer in network.get_layer("resnet50").layers if not isinstance(layer, pooling)]
    return [*inside, network.get_layer("logits")]


def test_out_of_patience_it_keeps_the_best(images: Path, tmp_path: Path, state: list[TrainingState]) -> None:
    best = fit.train(ask(images, tmp_path / "run", epochs=300, patience=3))
    (end,) = state
    assert len(end.history) < 300
    assert end.best == len(end.history) - 1 - 3
    assert best == end.history[end.best]
    assert not any(epoch.is_better_than(best) for epoch in end.history)
    network = keras.saving.load_model(tmp_path / "run" / "model.keras", compile=False)
    for kept, value in zip(end.best_weights, network.get_layer("logits").get_weights(), strict=True):
        np.testing.assert_array_equal(kept, value)


@pytest.mark.slow
def test_broken_off_before_its_first_model_is_written_it_goes_on(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without features: the checkpoint must be there before a model is, or the training would count as done."""

    def fail(*_: object) -> None:
        raise OutputError("the disk is full")

    settings = replace(ask(images, tmp_path / "run", epochs=2), views=0)
    with monkeypatch.context() as patch:
        patch.setattr(RunFolderWriter, "write", fail)
        with pytest.raises(OutputError, match="the disk is full"):
            fit.train(settings)
    with pytest.raises(OutputError, match="go on with --resume"):
        fit.train(settings)
    assert fit.train(replace(settings, resume=True)).epoch in {1, 2}
    assert not (tmp_path / "run" / "checkpoint").exists()
    again = fit.train(replace(settings, resume=True))
    assert again.stage is Stage.HEAD


@pytest.mark.slow
def test_broken_off_while_it_learns_what_is_familiar_it_goes_on(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OutputError("the disk is full")

    settings = ask(images, tmp_path / "run", epochs=1)
    with monkeypatch.context() as patch:
        patch.setattr(training, "learn_familiarity", fail)
        with pytest.raises(OutputError, match="the disk is full"):
            fit.train(settings)
    os.truncate(settings.out / "checkpoint" / "features-val.npy", 100)  # as after a power cut
    with pytest.raises(DataError, match=r"has --keep 0\.98, now it is 0\.9"):
        fit.train(replace(settings, resume=True, keep=0.9))
    fit.train(replace(settings, resume=True))
    network = keras.saving.load_model(settings.out / "model.keras", compile=False)
    assert network.output_names == ["logits", "familiarity"]
    rule = json.loads((settings.out / "run.json").read_text())["familiarity"]
    assert (rule["keep"], rule["others"], rule["others_refused"]) == (0.98, 0, None)


def test_a_class_that_is_called_neither_is_one_like_any_other(images: Path, tmp_path: Path) -> None:
    images = Path(shutil.copytree(images.parent, tmp_path / "copy")) / "images"
    (images / "dog").rename(images / "Neither")
    with pytest.raises(DataError, match="there is a class 'neither'"):
        fit.train(replace(ask(images, tmp_path / "no"), other=images))
    settings = ask(images, tmp_path / "run", epochs=1)
    fit.train(settings)
    assert json.loads((settings.out / "run.json").read_text())["familiarity"] is None
    assert len(keras.saving.load_model(settings.out / "model.keras", compile=False).outputs) == 1


def test_a_precision_that_the_hardware_lacks_is_refused(images: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="--precision float16 is for GPUs, and there is none"):
        fit.train(ask(images, tmp_path / "run", precision=ComputeDtype.FLOAT16))
    assert not (tmp_path / "run").exists()
