import pytest

from catsdogs_edge.stream.pace import Pace


def test_a_slow_source_follows_and_one_that_was_away_does_not() -> None:
    pace = Pace()
    assert [pace.follows(second) for second in (0, 5, 10, 15, 40)] == [True, False, True, True, False]


def test_a_clock_that_goes_back_follows_nothing_and_says_nothing_of_the_interval() -> None:
    pace = Pace()
    assert [pace.follows(second) for second in (10, 11, 3, 4)] == [True, True, False, True]
    assert pace.patience == pytest.approx(3)


def test_a_long_silence_makes_nobody_patient() -> None:
    pace = Pace()
    assert pace.follows(0)
    assert not pace.follows(3600)
    assert pace.patience <= 60
    for frame in range(100):
        pace.follows(3600 + frame / 10)
    assert pace.patience == 2
