import numpy as np
import pytest

from catsdogs_train.run.comparison import Comparison


def compare(count: int, lost: int, won: int) -> Comparison:
    """Of that many images the student is wrong about some that its teacher knows, and the other way round."""
    truth = np.zeros(count, np.int64)
    right, wrong = np.array([1, 0], np.float32), np.array([0, 1], np.float32)
    teacher, student = np.tile(right, (count, 1)), np.tile(right, (count, 1))
    student[:lost], teacher[lost : lost + won] = wrong, wrong
    return Comparison(teacher=teacher, student=student, truth=truth, speedup=3.0, parameters=(10, 3))


def test_the_limit_itself_is_allowed() -> None:
    for count in range(200, 2001, 200):
        assert compare(count, count // 200, 0).drop == 0.5


def test_what_it_says_is_paired() -> None:
    comparison = compare(1000, 8, 3)
    assert comparison.drop == pytest.approx(0.5)
    low, high = comparison.change.interval
    assert low < 0.5 < high
    assert high - low < 1.6  # two samples of their own would give 0.9 on either side
    assert comparison.describe().startswith("99.20% of 1000 images right, its teacher 99.70%: +0.50 points lost")
    assert len(list(comparison.differing())) == 11
    assert next(comparison.differing()) == (0, (0, 0, 1))
