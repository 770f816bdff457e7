import numpy as np
from numpy.typing import NDArray

from catsdogs_edge.images.heatmap import draw_heatmap
from tests.edge.conftest import plain

GREY = (128, 128, 128)


def saturation(image: NDArray[np.uint8]) -> NDArray[np.int_]:
    return np.asarray(np.ptp(image.astype(int), axis=2))


def test_what_speaks_for_the_answer_is_coloured_and_the_rest_is_grey() -> None:
    evidence = np.full((7, 7), -1, np.float32)
    evidence[0, 6] = 3
    drawn = draw_heatmap(plain((200, 40, 40), 140, 210), evidence)
    assert drawn.shape == (140, 210, 3)
    assert drawn.dtype == np.uint8
    colours = saturation(drawn)
    assert colours[:20, 180:].min() > 10
    assert colours[60:].max() == 0
    assert colours[:, :100].max() == 0


def test_the_strongest_part_is_as_bright_whatever_it_says() -> None:
    evidence = np.zeros((2, 2), np.float32)
    evidence[0, 0] = 1
    np.testing.assert_allclose(
        draw_heatmap(plain(GREY, 20, 20), evidence), draw_heatmap(plain(GREY, 20, 20), 9 * evidence), atol=1
    )


def test_nothing_that_speaks_for_it_is_a_grey_image() -> None:
    assert saturation(draw_heatmap(plain((200, 40, 40), 30, 30), np.full((3, 3), -2, np.float32))).max() == 0
