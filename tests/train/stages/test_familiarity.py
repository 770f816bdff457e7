from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from catsdogs_edge.images.decode import RgbBatch
from catsdogs_edge.images.drawings import write_folder
from catsdogs_train.data.outliers import HELD_OUT, find_outliers
from catsdogs_train.data.split import Sample
from catsdogs_train.network.familiarity import OutputLayer, fit_boundary
from catsdogs_train.network.features import Features
from catsdogs_train.settings import Settings
from catsdogs_train.stages.context import make_batches
from catsdogs_train.stages.familiarity import fit_familiarity
from catsdogs_train.views.batches import ImageBatches

HEAD = OutputLayer(np.eye(8, 2, dtype=np.float32), np.zeros(2, np.float32))
WIDTH = len(HEAD.kernel)

SETTINGS = Settings(data=[Path("pets")], out=Path("run"), image_size=32, batch_size=8, keep=0.9)


def extract(batches: ImageBatches | RgbBatch) -> Features:
    """Features of which some tell how colourful an image is, and how it varies."""
    images = (
        batches if isinstance(batches, np.ndarray) else np.concatenate([batches[i][0] for i in range(len(batches))])
    )
    features = np.zeros((len(images), WIDTH + 8), np.float32)
    features[:, WIDTH : WIDTH + 3] = images.mean(axis=(1, 2)) / 64
    features[:, WIDTH + 3 : WIDTH + 6] = images.std(axis=(1, 2)) / 32
    features[:, WIDTH + 6] = np.abs(np.diff(images.astype(np.float32), axis=2)).mean(axis=(1, 2, 3)) / 16
    return features


def test_images_of_neither_are_judged_by_what_does_not_know_them(rooms: Path, tmp_path: Path) -> None:
    write_folder(tmp_path / "pets", per_class=40)
    pets = sorted((tmp_path / "pets").rglob("*.png"))
    samples = [Sample(path, 0, "") for path in pets]
    features = extract(make_batches(SETTINGS, samples))
    outliers, _ = find_outliers([rooms], [], 0)
    fit = fit_familiarity(SETTINGS, samples[::2], outliers, features[1::2], HEAD, extract)
    assert (fit.outliers, fit.target_recall, len(fit.outlier_scores)) == (30, 0.9, 30)
    assert (fit.val_scores >= 0).mean() >= 0.9
    assert fit.refused is not None
    assert fit.refused > 0.9
    one = fit_familiarity(SETTINGS, samples[::2], outliers, features[1::2], HEAD, extract, judging=[HELD_OUT])
    np.testing.assert_array_equal(one.outlier_scores, fit.outlier_scores[: len(one.outlier_scores)])
    assert len(one.outlier_scores) == sum(sample.label == HELD_OUT for sample in outliers)
    alone = fit_familiarity(replace(SETTINGS, keep=0.8), samples[::2], [], features[1::2], HEAD, extract)
    assert (alone.outliers, alone.refused, len(alone.outlier_scores)) == (0, None, 0)
    assert "Mahalanobis" in alone.detector.method


def test_training_images_do_not_speak_for_others_where_the_backbone_knows_them(rooms: Path, tmp_path: Path) -> None:
    write_folder(tmp_path / "pets", per_class=40)
    samples = [Sample(path, 0, "") for path in sorted((tmp_path / "pets").rglob("*.png"))]
    outliers, _ = find_outliers([rooms], [], 0)
    new = 0.7 * extract(make_batches(SETTINGS, samples[1::4]))  # few, and less familiar than those it learned from
    new += 0.3 * extract(make_batches(SETTINGS, outliers)).mean(axis=0)
    kept = {
        is_tuned: fit_familiarity(SETTINGS, samples[::2], outliers, new, HEAD, extract, is_tuned=is_tuned).val_scores
        >= 0
        for is_tuned in (False, True)
    }
    assert kept[False].mean() < SETTINGS.keep  # what the test is about
    assert kept[True].mean() >= SETTINGS.keep


@pytest.mark.parametrize("is_tuned", [False, True])
def test_the_largest_logit_is_read_where_training_images_do_not_set_the_threshold(
    is_tuned: bool, rooms: Path, tmp_path: Path
) -> None:
    """An output layer is sure of what it learned from: the logits of those would promise too much."""
    write_folder(tmp_path / "pets", per_class=10)
    samples = [Sample(path, 0, "") for path in sorted((tmp_path / "pets").rglob("*.png"))]
    outliers, _ = find_outliers([rooms], [], 0)
    val = extract(make_batches(SETTINGS, samples[1::2]))
    detector = fit_familiarity(SETTINGS, samples[::2], outliers, val, HEAD, extract, is_tuned=is_tuned).detector
    assert len(detector.weights) == val.shape[1] + is_tuned
    assert ("the largest logit" in detector.method) == is_tuned


def test_near_logits_are_unfamiliar() -> None:
    """Images of neither whose features are the mean of those of the classes: no sum of features sees that."""
    random = np.random.default_rng(0)
    known = np.concatenate([[0, 4] * np.ones((200, 2)), [4, 0] * np.ones((200, 2))])
    sides = [known, np.full((200, 2), 2.0)]
    features = [
        np.column_stack([side + random.normal(0, 0.3, side.shape), random.normal(0, 1, (len(side), WIDTH + 6))])
        for side in sides
    ]
    familiar, neither = (HEAD.add_largest(side.astype(np.float32)) for side in features)
    assert ranked(familiar[:, :-1], neither[:, :-1]) < 0.7
    assert ranked(familiar, neither) > 0.99


def ranked(familiar: Features, neither: Features) -> float:
    """Probability that a familiar image has a higher score than one of neither, for others than those that taught."""
    detector = fit_boundary(familiar[::2], neither[::2])
    return float(np.mean(detector.score(familiar[1::2])[:, np.newaxis] > detector.score(neither[1::2])))
