import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from catsdogs_edge.capture.frames import Frame, State
from catsdogs_edge.capture.sources import Source
from catsdogs_edge.errors import SourceError
from catsdogs_edge.model.classifier import Classifier
from catsdogs_edge.stream.pipeline import classify_streams, deliver
from tests.edge.conftest import BLUE, RED, plain


class Camera(Source):
    """Frames at a rate, until its end or an error; remembers whether it was closed."""

    live = True

    def __init__(
        self,
        name: str,
        colour: tuple[int, int, int],
        rate: float,
        count: int = 10**6,
        error: str = "",
        *,
        lost: bool = False,
    ) -> None:
        self.name, self._colour, self._rate, self._count = name, colour, rate, count
        self._error, self._lost = error, lost
        self.closed = False

    def __iter__(self) -> Iterator[Frame]:
        for number in range(self._count):
            time.sleep(1 / self._rate)
            if self._lost:
                yield Frame(number=number, rgb=None, state=State.LOST, error="nobody answers")
            else:
                yield Frame(number=number, rgb=plain(self._colour))
        if self._error:
            raise SourceError(self._error)

    def close(self) -> None:
        self.closed = True


@pytest.fixture(scope="module")
def classifier(tiny: Path) -> Classifier:
    return Classifier.load(tiny, threads=1)


def test_each_result_says_its_source_and_all_end_when_all_have_ended(classifier: Classifier) -> None:
    cameras = [Camera("a", RED, 100, 5), Camera("b", BLUE, 50, 9)]
    results = list(classify_streams(cameras, classifier))
    for camera, label, count in zip(cameras, ("cat", "dog"), (5, 9), strict=True):
        own = [result for result in results if result.source == camera.name]
        assert [result.frame.number for result in own] == list(range(count))
        assert {result.label for result in own} == {label}
        assert camera.closed


def test_one_that_is_lost_holds_up_no_other(classifier: Classifier) -> None:
    seen = {"a": 0, "b": 0}
    end = time.monotonic() + 2
    for result in classify_streams([Camera("a", RED, 50), Camera("b", BLUE, 4, lost=True)], classifier):
        seen[result.source] += 1
        if time.monotonic() > end:
            break
    assert seen["a"] > 20
    assert 4 <= seen["b"] <= 9


def test_an_error_of_one_ends_all(classifier: Classifier) -> None:
    cameras = [Camera("a", RED, 50), Camera("b", BLUE, 50, 3, "the cable is out")]
    with pytest.raises(SourceError, match="the cable is out"):
        list(classify_streams(cameras, classifier))
    wait_for(lambda: all(camera.closed for camera in cameras))


def test_who_stops_asking_closes_all(classifier: Classifier) -> None:
    class Two:
        """A sink that wants two results."""

        taken = 0

        def write(self, _: object) -> bool:
            self.taken += 1
            return self.taken < 2

        def close(self) -> None:
            """Nothing is open."""

    cameras = [Camera("a", RED, 50), Camera("b", BLUE, 50)]
    results = classify_streams(cameras, classifier)
    assert deliver(results, [Two()]).classified == 2
    del results
    wait_for(lambda: all(camera.closed for camera in cameras))


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)
