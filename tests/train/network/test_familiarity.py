from dataclasses import replace
from functools import partial
from pathlib import Path

import keras
import numpy as np
import pytest

from catsdogs_train.network.familiarity import (
    Detector,
    OutputLayer,
    attach,
    fit_boundary,
    fit_distance,
    held_out_scores,
)
from catsdogs_train.network.features import Features, make_extractor
from catsdogs_train.network.resnet import build_network, get_backbone, stage_output, to_inference_model

SIZE = 32

HEAD_WIDTH = 2048
"""Features of a ResNet50 that the output layer gets."""


def drawn(count: int, shift: float, seed: int) -> Features:
    """Features whose second kind is around `shift` in some of their directions."""
    features = np.random.default_rng(seed).normal(0, 1, (count, HEAD_WIDTH + 64)).astype(np.float32)
    features[:, HEAD_WIDTH : HEAD_WIDTH + 16] += shift
    return features


@pytest.mark.parametrize("method", ["boundary", "distance"])
def test_what_was_never_seen_is_told_apart(method: str) -> None:
    known, unknown = drawn(400, 0, 1), drawn(200, 4, 2)
    detector = fit_boundary(known, drawn(100, 4, 3)) if method == "boundary" else fit_distance(known, HEAD_WIDTH)
    detector = detector.with_threshold_for(0.95, detector.score(drawn(400, 0, 4)))
    assert (detector.score(drawn(400, 0, 5)) >= 0).mean() == pytest.approx(0.95, abs=0.04)
    assert (detector.score(unknown) < 0).mean() > 0.99


@pytest.mark.parametrize("recall", [0.5, 0.9, 0.98, 1.0])
@pytest.mark.parametrize("count", [1, 40, 333])
def test_the_target_recall_holds_for_the_images_that_set_the_threshold_also_in_float32(
    recall: float, count: int
) -> None:
    judges = drawn(count, 0, 1)
    detector = fit_distance(drawn(20, 0, 2), HEAD_WIDTH)  # fewer images than features
    detector = detector.with_threshold_for(recall, detector.score(judges))
    scores = detector.score(judges)
    assert recall <= (scores >= 0).mean() < recall + 2 / count + 1e-9
    assert detector.directions is not None
    assert detector.offset is not None
    projected = judges[:, HEAD_WIDTH:] @ detector.directions.astype(np.float32) + detector.offset.astype(np.float32)
    single = projected**2 @ detector.weights.astype(np.float32) + np.float32(detector.bias)
    assert np.array_equal(single >= 0, scores >= 0)
    assert count == 1 or 1.9 < scores.std() < 2.1


def test_a_few_images_are_enough_to_go_on() -> None:
    few = drawn(3, 0, 1)
    assert np.all(
        np.isfinite(
            fit_distance(few, HEAD_WIDTH)
            .with_threshold_for(0.98, fit_distance(few, HEAD_WIDTH).score(few))
            .score(drawn(5, 9, 2))
        )
    )
    assert np.all(np.isfinite(fit_boundary(few, few).score(few)))
    same = np.ones((4, HEAD_WIDTH + 8), np.float32)
    assert np.all(np.isfinite(fit_distance(same, HEAD_WIDTH).score(same)))


@pytest.mark.parametrize("with_distance", [False, True])
def test_the_network_computes_what_the_detector_says(with_distance: bool, tmp_path: Path) -> None:
    keras.utils.set_random_seed(0)
    network = build_network(3, "none", SIZE)
    batch = np.random.default_rng(1).integers(0, 256, (4, SIZE, SIZE, 3), np.uint8)
    batch[1:] //= np.array([2, 8, 64], np.uint8)[:, np.newaxis, np.newaxis, np.newaxis]
    features = np.concatenate([np.asarray(part) for part in make_extractor(network)(batch, training=False)], axis=1)
    random = np.random.default_rng(0)
    scale = 1 / np.linalg.norm(features[:, HEAD_WIDTH:])
    if with_distance:
        directions, offset = random.normal(0, 4 * scale, (1024, 8)), random.normal(0, 1, 8)
        detector = Detector(method="distance", weights=np.full(8, -0.2), bias=1.0, directions=directions, offset=offset)
    else:
        head = OutputLayer(*network.get_layer("logits").get_weights())
        features = head.add_largest(features)
        weights = np.append(random.normal(0, 4 * scale, HEAD_WIDTH + 1024), 2 / features[:, -1].max())
        detector = Detector(method="boundary", weights=weights, bias=0.3)
    detector = replace(detector, bias=detector.bias - float(detector.score(features).mean()))
    expected = 1 / (1 + np.exp(-detector.score(features)))
    assert np.ptp(expected) > 0.05
    path = tmp_path / "model.keras"
    attach(to_inference_model(network, SIZE), detector).save(path)
    both = keras.saving.load_model(path, compile=False)
    assert both.output_names == ["logits", "familiarity"]
    logits, familiarity = (np.asarray(output) for output in both(batch, training=False))
    np.testing.assert_allclose(logits, network(batch, training=False), rtol=1e-4, atol=1e-4)
    assert familiarity.shape == (4,)
    np.testing.assert_allclose(familiarity, expected, atol=1e-4)  # float32 sums of 1024 products


def test_the_earlier_stage_is_there() -> None:
    network = build_network(2, "none", SIZE)
    last, earlier = make_extractor(network)(np.zeros((1, SIZE, SIZE, 3), np.uint8), training=False)
    assert (last.shape, earlier.shape) == ((1, HEAD_WIDTH), (1, 1024))
    assert stage_output(get_backbone(network), 4) == "conv4_block6_out"


def test_the_target_recall_is_kept_for_each_kind_of_image() -> None:
    detector = fit_distance(drawn(400, 0, 1), HEAD_WIDTH)
    kinds = [detector.score(drawn(400, shift, seed)) for shift, seed in ((0, 2), (1.0, 3))]
    alone, both = (detector.with_threshold_for(0.95, *kinds[:count]) for count in (1, 2))
    far = drawn(1000, 1.0, 4)
    assert (alone.score(far) >= 0).mean() < 0.9
    assert (both.score(far) >= 0).mean() == pytest.approx(0.95, abs=0.025)
    assert (both.score(drawn(1000, 0, 5)) >= 0).mean() > 0.96


@pytest.mark.parametrize("count", [20, 60, 300])
def test_the_target_recall_is_kept_for_other_images_also_with_few(count: int) -> None:
    kept = []
    for seed in range(20):
        known, judges = drawn(count, 0, 3 * seed), drawn(count // 4, 0, 3 * seed + 1)
        detector = fit_distance(known, HEAD_WIDTH)
        held_out = held_out_scores(partial(fit_distance, head_width=HEAD_WIDTH), known, range(len(known)))
        scores = np.concatenate([detector.score(judges), held_out])
        detector = detector.with_threshold_for(0.95, scores)
        kept.append((detector.score(drawn(200, 0, 3 * seed + 2)) >= 0).mean())
    assert np.mean(kept) >= 0.94


def test_bursts_are_held_out_whole() -> None:
    """The frames of one burst would tell the detector what the others are like."""
    random = np.random.default_rng(0)
    bursts = np.repeat(drawn(60, 0, 1), 6, axis=0)
    known = (bursts + random.normal(0, 0.05, bursts.shape)).astype(np.float32)
    fit = partial(fit_distance, head_width=HEAD_WIDTH)
    others = fit(known).score(drawn(1000, 0, 2))
    whole, apart = (
        held_out_scores(fit, known, groups) for groups in ([number // 6 for number in range(360)], range(360))
    )
    assert abs(np.median(whole) - np.median(others)) < abs(np.median(apart) - np.median(others))
    assert np.median(apart) > np.median(whole)
    one_group = held_out_scores(fit, known, [7] * 360)
    np.testing.assert_array_equal(one_group, apart)


def test_copies_of_one_image_at_the_threshold_stay_together() -> None:
    detector = Detector(method="", weights=np.ones(1), bias=0.0)
    scores = np.concatenate([np.arange(3.0), np.full(7, 5.0), np.arange(10.0, 100.0)])
    moved = detector.with_threshold_for(0.95, scores)  # the fifth lowest of 100, a copy, decides
    assert int((moved.score(scores[:, np.newaxis]) >= 0).sum()) == 97
    assert float(np.abs(moved.score(scores[:, np.newaxis])).min()) > 0.01  # away from each: float32 decides the same
