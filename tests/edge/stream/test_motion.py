from pathlib import Path

import numpy as np
import pytest

from catsdogs_edge.capture.frames import Frame
from catsdogs_edge.images.decode import RgbImage
from catsdogs_edge.images.drawings import draw
from catsdogs_edge.model.classifier import Classifier
from catsdogs_edge.stream.frame_result import FrameResult, to_row
from catsdogs_edge.stream.motion import AFTERWARDS, MotionDetector
from catsdogs_edge.stream.pipeline import FrameClassifier, StreamSummary
from catsdogs_edge.stream.regions import Region

RATE = 15  # frames a second
RANDOM = np.random.default_rng(0)


def room(noise: float = 3.0, brightness: float = 0.0) -> RgbImage:
    """A room as a camera's sensor sees it: no two frames are alike."""
    scene = np.full((240, 320, 3), 120.0)
    scene[150:] = 90
    scene[60:140, 40:120] = (150, 140, 120)
    return np.clip(scene + brightness + RANDOM.normal(0, noise, scene.shape), 0, 255).astype(np.uint8)


def with_cat(left: int) -> RgbImage:
    """The same room with an animal in it."""
    image = room()
    cat = np.asarray(draw("cat", 1, 80), np.uint8)
    image[120:200, left : left + 80] = cat
    return image


def look(detector: MotionDetector, frames: list[RgbImage], start: int = 0) -> list[bool]:
    return [detector.moves(rgb, (start + number) / RATE) for number, rgb in enumerate(frames)]


@pytest.mark.parametrize("noise", [0.0, 2.0, 5.0, 10.0])
def test_a_still_scene_does_not_move_whatever_its_noise(noise: float) -> None:
    found = look(MotionDetector(), [room(noise) for _ in range(8 * RATE)])
    assert all(found[: int(AFTERWARDS * RATE)])  # the start counts as moving
    assert not any(found[3 * RATE :])


def test_light_that_fades_slowly_does_not_move() -> None:
    found = look(MotionDetector(), [room(brightness=number / 10) for number in range(20 * RATE)])
    assert sum(found[3 * RATE :]) < 0.1 * len(found)


def test_what_enters_moves_at_once_and_what_stays_does_for_a_while() -> None:
    detector = MotionDetector()
    look(detector, [room() for _ in range(6 * RATE)])
    found = look(detector, [with_cat(left) for left in range(0, 200, 8)], 6 * RATE)
    assert found[0]
    assert all(found)
    found = look(detector, [room() for _ in range(6 * RATE)], 8 * RATE)
    assert not any(found[4 * RATE :])


def test_frames_of_another_size_begin_anew() -> None:
    detector = MotionDetector()
    look(detector, [room() for _ in range(6 * RATE)])
    assert detector.moves(room()[:100], 6.0)


def cat_in(result: FrameResult) -> bool:
    return result.prediction is not None


def test_only_what_moves_is_classified_and_the_last_answer_holds(familiar: Path) -> None:
    frames = FrameClassifier(Classifier.load(familiar), motion=True)
    summary, results = StreamSummary(), []
    for number in range(6 * RATE):
        results.append(frames.classify(Frame(number=number, rgb=room(), position=number / RATE)))
        summary.count(results[-1])
    assert cat_in(results[0])
    last = results[-1]
    assert (last.moving, last.prediction, last.latency_ms) == (False, None, 0.0)
    assert last.label == results[0].label != ""
    assert summary.classified + summary.still == 6 * RATE
    assert summary.still > 3 * RATE
    assert f"{summary.still} more in which nothing moved" in summary.describe("the yard")
    assert to_row(last, ("cat", "dog"))["moving"] is False
    entered = frames.classify(Frame(number=999, rgb=with_cat(100), position=6.0))
    assert entered.moving
    assert entered.prediction is not None


def test_each_region_moves_for_itself(tiny: Path) -> None:
    regions = Region.parse_all(["left=0,0,0.3,1", "right=0.4,0,0.6,1"])
    frames = FrameClassifier(Classifier.load(tiny), regions=regions, motion=True)
    for number in range(6 * RATE):
        frames.classify(Frame(number=number, rgb=room(), position=number / RATE))
    result = frames.classify(Frame(number=999, rgb=with_cat(200), position=6.0))
    assert [part.moving for part in result.each()] == [False, True]
    assert [part.prediction is None for part in result.each()] == [True, False]


def test_what_is_gone_from_one_frame_to_the_next_is_noticed() -> None:
    detector = MotionDetector()
    look(detector, [room() for _ in range(6 * RATE)])
    found = look(detector, [with_cat(100) for _ in range(5 * RATE)], 6 * RATE)
    assert found[0]
    assert not found[-1]  # it sits still
    found = look(detector, [room() for _ in range(3 * RATE)], 11 * RATE)
    assert found[0]  # the background is the one of before, the answer is not
    assert not found[-1]


@pytest.mark.parametrize("shape", [(640, 1), (1, 640)])
def test_a_thin_region_is_watched(shape: tuple[int, int]) -> None:
    assert MotionDetector().moves(np.full((*shape, 3), 128, np.uint8), 0.0) is True
