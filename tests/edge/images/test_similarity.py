import numpy as np
import pytest

from catsdogs_edge.images.similarity import SeenImages, thumbnail
from tests.edge.stream.test_motion import room, with_cat


@pytest.mark.parametrize("noise", [0.0, 5.0, 20.0])
def test_frames_of_a_still_scene_are_near_copies_whatever_the_noise_and_the_light(noise: float) -> None:
    seen = SeenImages([thumbnail(room(noise))])
    assert all(seen.has_near_copy(thumbnail(room(noise, brightness))) for brightness in range(-30, 40, 10))


def test_an_animal_that_comes_or_goes_on_makes_another_image() -> None:
    seen = SeenImages([thumbnail(room())])
    kept = []
    for left in range(0, 240, 10):
        small = thumbnail(with_cat(left))
        if not seen.has_near_copy(small):
            seen.add(small)
            kept.append(left)
    assert kept[0] == 0
    assert 4 <= len(kept) <= 12


def test_the_newest_are_remembered() -> None:
    plain = [np.full(768, level, np.uint8) for level in (0, 0, 0)]
    for index, image in enumerate(plain):
        image[index * 240 : index * 240 + 240] = 250
    first, second, third = (image.tobytes() for image in plain)
    seen = SeenImages([first, second, b"damaged"], most=2)
    seen.add(third)
    assert [seen.has_near_copy(one) for one in (first, second, third)] == [False, True, True]
