from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import catsdogs_edge
from catsdogs_edge.capture.frames import Frame, State
from catsdogs_edge.capture.sources import Source
from catsdogs_edge.errors import SourceError
from catsdogs_edge.model.classifier import Classifier
from catsdogs_edge.stream.frame_result import FrameResult
from catsdogs_edge.stream.pipeline import FrameClassifier, classify_stream, deliver
from catsdogs_edge.stream.regions import Region
from tests.edge.conftest import BLUE, RED, plain


class Scene(Source):
    """A source made of frames; remembers whether it was closed."""

    name, live = "a scene", True

    def __init__(self, *frames: Frame) -> None:
        self.frames = frames
        self.closed = False

    def __iter__(self) -> Iterator[Frame]:
        yield from self.frames

    def close(self) -> None:
        self.closed = True


class Taker:
    """A sink that takes so many results, and asks to stop."""

    def __init__(self, most: int = 100) -> None:
        self.taken: list[FrameResult] = []
        self.most = most
        self.closed = False

    def write(self, result: FrameResult) -> bool:
        self.taken.append(result)
        return len(self.taken) < self.most

    def close(self) -> None:
        self.closed = True


def test_each_frame_of_a_video_has_a_result(video: Path, tiny: Path) -> None:
    results = list(catsdogs_edge.classify_stream(str(video), Classifier.load(tiny), smoothing=0))
    assert [result.frame.number for result in results] == list(range(10))
    assert {result.label for result in results} == {"cat", "dog"}
    assert str(results[0]) == "cat >99.9%"


def test_a_camera_s_silence_is_a_result_and_the_source_is_closed(tiny: Path) -> None:
    lost = Frame(number=1, rgb=None, state=State.LOST, error="nobody answers")
    scene = Scene(Frame(number=0, rgb=plain(RED)), lost, Frame(number=2, rgb=plain(BLUE)))
    seen = [(result.label, str(result)) for result in classify_stream(scene, Classifier.load(tiny))]
    assert [label for label, _ in seen] == ["cat", "", "dog"]
    assert seen[1][1] == "lost: nobody answers"
    assert scene.closed


def test_who_breaks_out_of_the_loop_closes_the_source(tiny: Path) -> None:
    scene = Scene(*(Frame(number=number, rgb=plain(RED)) for number in range(9)))
    for result in classify_stream(scene, Classifier.load(tiny)):
        assert result.label == "cat"
        break
    assert scene.closed


def test_a_source_that_is_not_there_is_an_error_at_the_first_result(tiny: Path, tmp_path: Path) -> None:
    results = classify_stream(str(tmp_path / "no.mp4"), Classifier.load(tiny))
    with pytest.raises(SourceError, match="no such video"):
        next(results)


def test_sinks_end_the_loop_and_are_closed_in_their_order(tiny: Path) -> None:
    scene = Scene(*(Frame(number=number, rgb=plain(RED)) for number in range(9)))
    first, second = Taker(3), Taker()
    summary = deliver(classify_stream(scene, Classifier.load(tiny)), [first, second])
    assert len(first.taken) == len(second.taken) == summary.classified == 3
    assert first.closed
    assert second.closed
    limited = deliver(classify_stream(Scene(*scene.frames), Classifier.load(tiny)), [Taker()], limit=5)
    assert limited.classified == 5


def test_without_a_model_it_takes_the_one_that_comes_along() -> None:
    scene = Scene(Frame(number=0, rgb=np.zeros((48, 64, 3), np.uint8)))
    (result,) = classify_stream(scene)
    assert result.label == "neither"


def test_a_camera_that_comes_back_with_another_size_is_not_live(tiny: Path, caplog: pytest.LogCaptureFixture) -> None:
    frames = FrameClassifier(Classifier.load(tiny), regions=Region.parse_all(["flap=60,30,40,40"]))
    frames.is_live = True
    assert frames.classify(Frame(number=0, rgb=plain(RED, 72, 128))).frame.state is State.LIVE
    for number in (1, 2):
        result = frames.classify(Frame(number=number, rgb=plain(RED, 48, 64)))
        assert result.frame.state is State.STALE
        assert "flap" in result.frame.error
    assert caplog.text.count("flap") == 1
    assert frames.classify(Frame(number=3, rgb=plain(RED, 72, 128))).frame.state is State.LIVE


def test_one_of_several_cameras_that_comes_late_with_another_size_ends_no_other(tiny: Path) -> None:
    frames = FrameClassifier(Classifier.load(tiny), regions=Region.parse_all(["flap=60,30,40,40"]), source="garden")
    frames.is_live = True
    frames.classify(Frame(number=0, rgb=None, state=State.LOST, error="away"))
    assert frames.classify(Frame(number=1, rgb=plain(RED, 48, 64))).frame.state is State.STALE
