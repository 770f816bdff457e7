import numpy as np
import pytest

from catsdogs_edge.cam.overlay import Annotator, _Sheet
from catsdogs_edge.capture.frames import Frame, State
from catsdogs_edge.images.decode import RgbImage
from catsdogs_edge.model.prediction import Prediction
from catsdogs_edge.stream.frame_result import FrameResult
from catsdogs_edge.stream.smoothing import SmoothedPrediction

ORANGE = (0, 159, 230)


def result(rgb: RgbImage, probability: float = 0.9) -> FrameResult:
    prediction = Prediction("cat", probability, {"cat": probability, "dog": 1 - probability})
    return FrameResult(
        frame=Frame(number=0, rgb=rgb),
        prediction=prediction,
        smoothed=SmoothedPrediction("cat", probability),
        latency_ms=12.0,
        fps=25.0,
    )


def lost(number: int = 1) -> FrameResult:
    return FrameResult(frame=Frame(number=number, rgb=None, state=State.LOST, error="no frame for 9 s"), fps=25.0)


def test_the_overlay_leaves_the_frame_alone_and_shows_more_for_more() -> None:
    frame = np.full((480, 640, 3), 128, np.uint8)
    annotator = Annotator("CPUExecutionProvider")
    sure, unsure = annotator.annotate(result(frame, 0.9)), annotator.annotate(result(frame, 0.5))
    assert np.all(frame == 128)
    assert np.array_equal(sure[40:400], frame[40:400])
    orange = [np.all(image == ORANGE, axis=2).sum() for image in (sure, unsure)]
    assert orange[0] > 1.3 * orange[1]


def test_neither_is_said_without_a_bar() -> None:
    frame = np.full((480, 640, 3), 128, np.uint8)
    nothing = Prediction("neither", 0.97, {"cat": 0.4, "dog": 0.6}, 0.03)
    image = Annotator("CPUExecutionProvider").annotate(
        FrameResult(
            frame=Frame(number=0, rgb=frame),
            prediction=nothing,
            smoothed=SmoothedPrediction("neither", 0.97),
            latency_ms=12.0,
            fps=25.0,
        )
    )
    assert not np.all(image == ORANGE, axis=2).any()
    assert np.any(image[430:] > 150)


@pytest.mark.parametrize("shape", [(1, 1), (20, 30), (2160, 3840), (3000, 1)])
def test_the_overlay_fits_any_frame(shape: tuple[int, int]) -> None:
    frame = np.zeros((*shape, 3), np.uint8)
    assert Annotator("CPUExecutionProvider").annotate(result(frame)).shape == frame.shape


def test_without_a_frame_the_last_one_is_dimmed_and_has_no_label() -> None:
    frame = np.full((480, 640, 3), 120, np.uint8)
    annotator = Annotator("CPUExecutionProvider")
    annotator.annotate(result(frame))
    image = annotator.annotate(lost())
    assert np.all(image[100:400] == 40)
    assert not np.all(image == ORANGE, axis=2).any()


def test_words_that_do_not_fit_are_cut() -> None:
    words = _Sheet(np.zeros((480, 640, 3), np.uint8)).fitted("very " * 50, 600, 0.6)
    assert words.startswith("very very")
    assert words.endswith("...")


def test_before_the_first_frame_there_is_a_dark_image() -> None:
    assert Annotator("CPUExecutionProvider").annotate(lost()).shape == (480, 640, 3)


def test_a_mirror_turns_the_image_and_not_the_words() -> None:
    frame = np.zeros((480, 640, 3), np.uint8)
    frame[:, :320] = 200
    annotator = Annotator("CPUExecutionProvider")
    straight, mirrored = annotator.annotate(result(frame)), annotator.annotate(result(frame), mirrored=True)
    assert np.array_equal(straight[100:400, :320], mirrored[100:400, 320:])
    words = [np.all(image[430:] == (255, 255, 255), axis=2) for image in (straight, mirrored)]
    assert words[0].sum() > 50
    assert np.array_equal(words[0], words[1])


def test_a_result_is_drawn_once_for_all() -> None:
    annotator = Annotator("CPUExecutionProvider")
    seen = result(np.full((480, 640, 3), (10, 20, 30), np.uint8))
    assert annotator.annotate(seen) is annotator.annotate(seen)
    assert annotator.annotate(seen)[200, 200].tolist() == [30, 20, 10]  # drawn on BGR, from RGB
    assert annotator.annotate(result(np.zeros((480, 640, 3), np.uint8))) is not annotator.annotate(seen)
