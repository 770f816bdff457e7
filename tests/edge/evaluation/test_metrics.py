import numpy as np
import pytest

from catsdogs_edge.evaluation.metrics import (
    accuracy_interval,
    calibration_error,
    drop_interval,
    log_loss,
)
from catsdogs_edge.model.scores import softmax


def test_softmax_survives_large_logits() -> None:
    assert softmax(np.array([[1000, 1000], [0, -1000]], np.float32)).tolist() == [[0.5, 0.5], [1, 0]]


@pytest.mark.parametrize(
    ("hits", "count", "interval"),
    # Newcombe, "Two-sided confidence intervals for the single proportion", 1998, table I, method 3.
    [(81, 263, (0.2553, 0.3662)), (15, 148, (0.0624, 0.1605)), (0, 20, (0.0, 0.1611)), (1, 29, (0.0061, 0.1718))],
)
def test_accuracy_interval(hits: int, count: int, interval: tuple[float, float]) -> None:
    assert accuracy_interval(hits, count) == pytest.approx(interval, abs=5e-5)


def test_drop_interval() -> None:
    low, high = drop_interval(lost=8, won=2, count=1000)
    assert low < 0.006 < high
    assert drop_interval(2, 8, 1000) == pytest.approx((-high, -low))
    assert drop_interval(0, 0, 100)[0] < 0 < drop_interval(0, 0, 100)[1]  # a hundred images prove no more


def test_the_drop_interval_holds_the_truth_in_19_of_20_cases() -> None:
    random = np.random.default_rng(0)
    lost, won = 0.03, 0.01
    held = []
    for first, second, _ in random.multinomial(500, (lost, won, 1 - lost - won), 4000):
        low, high = drop_interval(int(first), int(second), 500)
        held.append(low <= lost - won <= high)
    assert 0.94 <= np.mean(held) <= 0.97  # 0.95, give or take what 4,000 draws and whole numbers allow


def test_log_loss() -> None:
    probabilities = np.array([[0.5, 0.5], [0.0, 1.0]], np.float32)
    assert log_loss(probabilities, np.array([0, 1])) == pytest.approx(np.log(2) / 2)
    assert np.isfinite(log_loss(probabilities, np.array([0, 0])))


def test_calibration_error() -> None:
    """Four answers, all 90 % sure, half of them right: off by 40 points."""
    probabilities = np.tile(np.array([0.9, 0.1], np.float32), (4, 1))
    assert calibration_error(probabilities, np.array([0, 0, 1, 1])) == pytest.approx(0.4, abs=1e-6)
    assert calibration_error(probabilities[:1] * 0 + np.array([1, 0], np.float32), np.array([0])) == 0


def test_an_interval_is_of_shares() -> None:
    for count in range(1, 50):
        (lowest, _), (_, highest) = accuracy_interval(0, count), accuracy_interval(count, count)
        assert 0 <= lowest < 1e-9
        assert 1 - 1e-9 < highest <= 1


@pytest.mark.parametrize("count", range(1, 60))
def test_an_interval_holds_its_accuracy(count: int) -> None:
    assert accuracy_interval(count, count)[1] == 1.0
    assert accuracy_interval(0, count)[0] == 0.0
