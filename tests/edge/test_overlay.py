import numpy as np
import pytest

from catsdogs_edge.decision import Prediction
from catsdogs_edge.frames import BgrImage, Frame, State
from catsdogs_edge.overlay import Painter, _Sheet
from catsdogs_edge.sightings import Sighting
from catsdogs_edge.smoothing import Steady

ORANGE = (0, 159, 230)


def sighting(bgr: BgrImage, probability: float = 0.9) -> Sighting:
    prediction = Prediction("cat", probability, (probability, 1 - probability))
    return Sighting(Frame(0, 0.0, 0.0, bgr), prediction, Steady("cat", probability), 12.0, 25.0)


def lost(number: int = 1) -> Sighting:
    return Sighting(Frame(number, 0.0, 0.0, None, State.LOST, error="no frame for 9 s"), None, None, 0.0, 25.0)


def test_the_overlay_leaves_the_frame_alone_and_shows_more_for_more() -> None:
    frame = np.full((480, 640, 3), 128, np.uint8)
    painter = Painter("CPUExecutionProvider")
    sure, unsure = painter.paint(sighting(frame, 0.9)), painter.paint(sighting(frame, 0.5))
    assert np.all(frame == 128)
    assert np.array_equal(sure[40:400], frame[40:400])
    orange = [np.all(image == ORANGE, axis=2).sum() for image in (sure, unsure)]
    assert orange[0] > 1.3 * orange[1]


def test_neither_is_said_without_a_bar() -> None:
    frame = np.full((480, 640, 3), 128, np.uint8)
    nothing = Prediction("neither", 0.97, (0.4, 0.6), 0.03)
    image = Painter("CPUExecutionProvider").paint(Sighting(Frame(0, 0.0, 0.0, frame), nothing, None, 12.0, 25.0))
    assert not np.all(image == ORANGE, axis=2).any()
    assert np.any(image[430:] > 150)


@pytest.mark.parametrize("shape", [(1, 1), (20, 30), (2160, 3840), (3000, 1)])
def test_the_overlay_fits_any_frame(shape: tuple[int, int]) -> None:
    frame = np.zeros((*shape, 3), np.uint8)
    assert Painter("CPUExecutionProvider").paint(sighting(frame)).shape == frame.shape


def test_without_a_frame_the_last_one_is_dimmed_and_has_no_label() -> None:
    frame = np.full((480, 640, 3), 120, np.uint8)
    painter = Painter("CPUExecutionProvider")
    painter.paint(sighting(frame))
    image = painter.paint(lost())
    assert np.all(image[100:400] == 40)
    assert not np.all(image == ORANGE, axis=2).any()


def test_words_that_do_not_fit_are_cut() -> None:
    words = _Sheet(np.zeros((480, 640, 3), np.uint8)).fitted("very " * 50, 600, 0.6)
    assert words.startswith("very very")
    assert words.endswith("...")


def test_before_the_first_frame_there_is_a_dark_picture() -> None:
    assert Painter("CPUExecutionProvider").paint(lost()).shape == (480, 640, 3)


def test_a_mirror_turns_the_picture_and_not_the_words() -> None:
    frame = np.zeros((480, 640, 3), np.uint8)
    frame[:, :320] = 200
    painter = Painter("CPUExecutionProvider")
    straight, mirrored = painter.paint(sighting(frame)), painter.paint(sighting(frame), mirrored=True)
    assert np.array_equal(straight[100:400, :320], mirrored[100:400, 320:])
    words = [np.all(image[430:] == (255, 255, 255), axis=2) for image in (straight, mirrored)]
    assert words[0].sum() > 50
    assert np.array_equal(words[0], words[1])
