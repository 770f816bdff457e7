import math

import pytest

from catsdogs_edge.model.prediction import Prediction
from catsdogs_edge.stream.smoothing import MARGIN, Smoother


def seen(cat: float, familiarity: float | None = None) -> Prediction:
    return Prediction("", 0.0, {"cat": cat, "dog": 1 - cat}, familiarity)


CAT, DOG = seen(0.95), seen(0.05)
KNOWN_CAT, KNOWN_DOG, SOFA = seen(0.95, 0.9), seen(0.05, 0.9), seen(0.03, 0.05)


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
    assert smoother.add(seen(0.6), 0).label == "cat"
    assert smoother.add(seen(0.5 - MARGIN / 2 + 0.01), 1).label == "cat"
    assert smoother.add(seen(0.5 - MARGIN / 2 - 0.01), 2).label == "dog"


@pytest.mark.parametrize("fps", [5, 30])
def test_the_frame_rate_does_not_matter(fps: int) -> None:
    smoother = Smoother(("cat", "dog"), 0.5)
    smoother.add(seen(1.0), 0)
    for number in range(1, fps + 1):
        smoothed = smoother.add(seen(0.0), number / fps)
    assert smoothed.label == "dog"
    assert smoothed.probability == pytest.approx(1 - math.exp(-1 / 0.5))


def test_without_smoothing_each_frame_counts() -> None:
    smoother = Smoother(("cat", "dog"), 0)
    assert smoother.add(CAT, 0).label == "cat"
    assert smoother.add(DOG, 0).label == "dog"


def test_after_a_gap_the_past_says_nothing() -> None:
    smoother = Smoother(("cat", "dog"), 10)
    smoother.add(CAT, 0)
    smoother.reset()
    assert smoother.add(DOG, 0.1).label == "dog"


def test_one_odd_frame_makes_it_neither_neither_nor_one_of_them() -> None:
    smoother = Smoother(("cat", "dog"), 0.5, threshold=0.5)
    for number in range(10):
        assert smoother.add(KNOWN_CAT, number / 25).label == "cat"
    assert smoother.add(SOFA, 0.4).label == "cat"
    labels = [smoother.add(SOFA, 0.44 + number / 25).label for number in range(25)]
    assert (labels[0], labels[-1]) == ("cat", "neither")
    assert smoother.add(KNOWN_DOG, 1.48).label == "neither"


def test_what_an_empty_room_was_taken_for_is_forgotten() -> None:
    smoother = Smoother(("cat", "dog"), 0.5, threshold=0.5)
    for number in range(100):  # "dog 97 %", if it had to be one of them
        smoothed = smoother.add(SOFA, number / 25)
    assert smoothed.label == "neither"
    assert smoothed.probability == pytest.approx(0.95)
    labels = [smoother.add(KNOWN_CAT, 4 + number / 25).label for number in range(25)]
    assert labels == sorted(labels, reverse=True)  # neither, then cat, never dog
    assert labels[-1] == "cat"


@pytest.mark.parametrize("threshold", [0.3, 0.7])
def test_without_smoothing_the_threshold_decides(threshold: float) -> None:
    smoother = Smoother(("cat", "dog"), 0, threshold)
    assert smoother.add(seen(0.9, threshold - 0.01), 0).label == "neither"
    assert smoother.add(seen(0.9, threshold), 0).label == "cat"


def test_neither_can_be_turned_off() -> None:
    assert Smoother(("cat", "dog"), 0).add(SOFA, 0).label == "dog"
