import csv
import os
from pathlib import Path

import keras
import numpy as np
import pytest

from catsdogs_edge.images.drawings import write_folder
from catsdogs_train import train as fit
from catsdogs_train.data.arrays import read_array
from catsdogs_train.data.split import Sample
from catsdogs_train.network.features import (
    FeatureBatches,
    compute_features,
    make_extractor,
    make_head,
    make_mapper,
)
from catsdogs_train.network.resnet import build_network
from catsdogs_train.settings import Settings
from catsdogs_train.views.batches import ImageBatches
from catsdogs_train.views.prefetch import Viewing
from tests.train.small_network import build_small_resnet


def test_the_parts_are_the_whole_and_share_their_weights(tmp_path: Path) -> None:
    network = build_network(3, "none")
    extractor, head = make_extractor(network), make_head(network)
    batch = np.random.default_rng(0).integers(0, 256, (2, 224, 224, 3), np.uint8)
    features, earlier = extractor(batch, training=False)
    assert (features.shape, earlier.shape) == ((2, 2048), (2, 1024))
    np.testing.assert_allclose(head(features), network(batch, training=False), rtol=1e-5, atol=1e-5)
    assert [variable.path for variable in head.trainable_variables] == ["logits/kernel", "logits/bias"]
    head.get_layer("logits").bias.assign([1.0, 2.0, 3.0])
    np.testing.assert_array_equal(network.get_layer("logits").bias, [1.0, 2.0, 3.0])


def test_each_epoch_takes_every_image_in_its_own_order(tmp_path: Path) -> None:
    targets = np.eye(2, dtype=np.float32)[[0, 1, 0, 1, 0]]
    weights = np.arange(5, dtype=np.float32)
    np.save(tmp_path / "view.npy", np.repeat(np.arange(5, dtype=np.float32)[:, np.newaxis], 4, axis=1))
    orders = []
    for epoch in (0, 1, 0):
        batches = FeatureBatches(tmp_path / "view.npy", 4, targets, weights, 2, 0, epoch)
        assert len(batches) == 3
        features, shown, counted = (
            np.concatenate(parts) for parts in zip(*(batches[index] for index in range(3)), strict=True)
        )
        taken = features[:, 0].astype(int)
        assert sorted(taken) == [0, 1, 2, 3, 4]
        assert list(counted) == list(taken)
        assert np.array_equal(shown, targets[taken])
        orders.append(list(taken))
    assert orders[0] != orders[1]
    assert orders[0] == orders[2]


@pytest.fixture
def images(tmp_path: Path) -> Path:
    write_folder(tmp_path / "images", per_class=8)
    return tmp_path / "images"


@pytest.mark.slow
def test_features_of_views_teach_what_the_plain_loop_teaches(images: Path, small_weights: Path, tmp_path: Path) -> None:
    """With a view for each epoch the two are the same computation: only the sums are added up elsewhere.

    Adam's first steps go by the sign of a gradient: where that is nothing but rounding, a weight may go either way.
    """
    kernels, losses = [], []
    for views in (2, 0):
        settings = Settings(
            data=[images],
            out=tmp_path / f"run{views}",
            weights=str(small_weights),
            image_size=96,
            epochs=2,
            batch_size=4,
            views=views,
            seed=1,
            val_size=4,
        )
        fit.train(settings)
        with (settings.out / "history.csv").open(newline="") as stream:
            losses.append([float(row["val_loss"]) for row in csv.DictReader(stream)])
        network = keras.saving.load_model(settings.out / "model.keras", compile=False)
        kernels.append(np.asarray(network.get_layer("logits").kernel))
    moved = np.abs(kernels[0] - kernels[1])
    assert np.median(moved) < 5e-5  # of steps that add up to 8e-3
    assert np.mean(moved < 2e-4) > 0.95
    assert losses[0] == pytest.approx(losses[1], rel=5e-2)


def test_features_are_in_the_order_of_the_images_and_computed_once(images: Path, tmp_path: Path) -> None:
    samples = [Sample(path, 0, "") for path in sorted(images.rglob("*.png"))]
    extractor = make_extractor(build_network(2, "none", 64))
    viewing = Viewing(image_size=64)
    whole, one_file = tmp_path / "all.npy", tmp_path / "one.npy"
    compute_features(extractor, ImageBatches(samples, viewing, 3), whole, [])
    compute_features(extractor, ImageBatches(samples[-1:], viewing, 3), one_file, [])
    features, one = np.array(read_array(whole)), read_array(one_file)
    np.testing.assert_allclose(features[-1:], one, rtol=1e-4, atol=1e-5)
    assert features.shape == (16, 2048 + 1024)
    compute_features(extractor, ImageBatches([], viewing, 3), whole, [])
    assert np.array_equal(read_array(whole), features)
    for length in (0, 5, whole.stat().st_size - 1):  # cut short, as after a power cut
        os.truncate(whole, length)
        compute_features(extractor, ImageBatches(samples, viewing, 3), whole, [])
        np.testing.assert_allclose(read_array(whole), features, rtol=1e-4, atol=1e-5)


def test_the_mean_of_a_class_map_is_the_logit() -> None:
    network = build_small_resnet(3)
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8)
    maps = np.asarray(make_mapper(network)(images, training=False))
    assert maps.shape == (2, 2, 2, 3)
    np.testing.assert_allclose(maps.mean(axis=(1, 2)), np.asarray(network(images, training=False)), atol=1e-4)
