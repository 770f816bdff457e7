from pathlib import Path

import cv2
import numpy as np
import pytest

from catsdogs_edge.errors import ImageError
from catsdogs_train.data.split import Sample
from catsdogs_train.views.augmentation import PUBLISHED
from catsdogs_train.views.batches import ImageBatches, make_sample_weights, make_targets
from catsdogs_train.views.prefetch import Viewing

VIEWING = Viewing(image_size=32)


@pytest.fixture
def samples(tmp_path: Path) -> list[Sample]:
    """Six images, each of one brightness: 0, 40, ..., 200; four of class 0, two of class 1."""
    for number in range(6):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.full((40, 40, 3), 40 * number, np.uint8))
    return [Sample(tmp_path / f"{number}.png", int(number > 3), "") for number in range(6)]


def brightness(batches: ImageBatches) -> list[int]:
    return [int(image.mean()) for index in range(len(batches)) for image in batches[index][0]]


def test_each_class_counts_the_same(samples: list[Sample]) -> None:
    assert list(make_sample_weights(samples, 2, balance=True)) == [0.75] * 4 + [1.5] * 2
    assert list(make_sample_weights(samples, 2, balance=False)) == [1] * 6


def test_images_come_in_order_with_targets_and_weights(samples: list[Sample]) -> None:
    weights = make_sample_weights(samples, 2, balance=True)
    batches = ImageBatches(samples, VIEWING, 4, targets=make_targets(samples, 2), sample_weights=weights)
    assert brightness(batches) == [0, 40, 80, 120, 160, 200]
    images, targets, counted = batches[1]
    assert images.shape == (2, 32, 32, 3)
    assert images.dtype == np.uint8
    assert targets.tolist() == [[0, 1], [0, 1]]
    assert counted.tolist() == [1.5, 1.5]


def test_an_epoch_follows_from_its_number(samples: list[Sample]) -> None:
    def start(view: int, mixup: float = 0.4) -> ImageBatches:
        viewing = Viewing(image_size=32, recipe=PUBLISHED, seed=3, view=view)
        return ImageBatches(samples, viewing, 4, targets=make_targets(samples, 2), shuffle=True, mixup=mixup)

    orders = set()
    for view in range(4):
        batches, again = start(view), start(view)
        for index in (0, 1, 0, 1):  # Keras looks at the first ones before it begins
            for one, other in zip(batches[index], again[index], strict=True):
                np.testing.assert_array_equal(one, other)
        orders.add(tuple(brightness(start(view, mixup=0))))
    assert len(orders) == 4


def test_images_are_mixed_with_their_targets(samples: list[Sample]) -> None:
    """Class 0 is dark and class 1 bright, so that the brightness tells how much of each is in an image."""
    chosen = [samples[0], samples[5]] * 2
    seen = set()
    for view in range(30):
        viewing = Viewing(image_size=32, view=view)
        images, targets, weights = ImageBatches(chosen, viewing, 4, targets=make_targets(chosen, 2), mixup=1.0)[0]
        for image, target in zip(images, targets, strict=True):
            assert image.mean() / 200 == pytest.approx(target[1], abs=0.003)
            seen.add(round(float(target[1]), 2))
        assert targets.sum(axis=1) == pytest.approx(1)
        assert weights == pytest.approx(1)
    assert len(seen) > 10


def test_a_mixed_image_counts_as_its_parts_do(samples: list[Sample]) -> None:
    """Over all images, each class counts the same with mixing, too."""
    targets, weights = make_targets(samples, 2), make_sample_weights(samples, 2, balance=True)
    for view in range(5):
        viewing = Viewing(image_size=32, view=view)
        _, mixed, counted = ImageBatches(samples, viewing, 6, targets=targets, sample_weights=weights, mixup=1.0)[0]
        assert mixed.sum(axis=1) == pytest.approx(1)
        assert (counted[:, None] * mixed).sum(axis=0) == pytest.approx([3, 3])


def test_an_image_that_is_gone_is_named(samples: list[Sample]) -> None:
    samples[4].path.unlink()
    batches = ImageBatches(samples, VIEWING, 2)
    assert batches[0][0].shape == (2, 32, 32, 3)
    with pytest.raises(ImageError, match=r"4\.png"):
        batches[2]
    assert batches.failure is not None
