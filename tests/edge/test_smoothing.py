import math

import pytest

from catsdogs_edge.smoothing import MARGIN, Smoother

CAT, DOG = (0.95, 0.05), (0.05, 0.95)


def test_one_odd_frame_does_not_change_the_label_and_a_second_of_them_does() -> None:
    smoother = Smoother(("cat", "dog"), 0.5)
    for number in range(10):
        smoother.add(CAT, number / 25)
    assert smoother.add(DOG, 0.4).label == "cat"
    assert smoother.add(CAT, 0.44).label == "cat"
    labels = [smoother.add(DOG, 0.48 + number / 25).label for number in range(25)]
    assert labels[0] == "cat"
    assert labels[-1] == "dog"
    assert labels == sorted(labels)  # it changes once


def test_the_label_changes_only_by_a_margin() -> None:
    smoother = Smoother(("cat", "dog"), 1e-9)  # no memory worth the name: only the hysteresis
    assert smoother.add((0.6, 0.4), 0).label == "cat"
    assert smoother.add((0.5 - MARGIN / 2 + 0.01, 0.5 + MARGIN / 2 - 0.01), 1).label == "cat"
    assert smoother.add((0.5 - MARGIN / 2 - 0.01, 0.5 + MARGIN / 2 + 0.01), 2).label == "dog"


@pytest.mark.parametrize("fps", [5, 30])
def test_the_frame_rate_does_not_matter(fps: int) -> None:
    smoother = Smoother(("cat", "dog"), 0.5)
    smoother.add((1.0, 0.0), 0)
    for number in range(1, fps + 1):
        steady = smoother.add((0.0, 1.0), number / fps)
    assert steady.label == "dog"
    assert steady.probability == pytest.approx(1 - math.exp(-1 / 0.5))


def test_without_smoothing_each_frame_counts() -> None:
    smoother = Smoother(("cat", "dog"), 0)
    assert smoother.add(CAT, 0).label == "cat"
    assert smoother.add(DOG, 0).label == "dog"


def test_after_a_gap_the_past_says_nothing() -> None:
    smoother = Smoother(("cat", "dog"), 10)
    smoother.add(CAT, 0)
    smoother.reset()
    assert smoother.add(DOG, 0.1).label == "dog"
