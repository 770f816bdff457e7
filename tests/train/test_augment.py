import numpy as np
import pytest

from catsdogs_edge.drawings import draw
from catsdogs_edge.image import RgbImage
from catsdogs_train.augment import Recipe, make_view

PET = np.asarray(draw("cat", 1, 96), np.uint8)
NOTHING = Recipe(shear=0, zoom=0, flip=False)


def difference(first: RgbImage, second: RgbImage) -> float:
    return float(np.abs(first.astype(int) - second.astype(int)).mean())


def test_a_view_follows_from_seed_number_and_place_alone() -> None:
    view = make_view(PET, 1, 2, 3)
    assert np.array_equal(make_view(PET, 1, 2, 3), view)
    for other in ((2, 2, 3), (1, 3, 3), (1, 2, 4)):
        assert not np.array_equal(make_view(PET, *other), view)
    assert view.shape == PET.shape
    assert view.dtype == np.uint8


def test_a_recipe_of_nothing_changes_nothing() -> None:
    assert np.array_equal(make_view(PET, 0, 0, 0, NOTHING), PET)


def test_half_of_the_views_are_mirrored() -> None:
    recipe = Recipe(shear=0, zoom=0, flip=True)
    mirrored = 0
    for number in range(200):
        view = make_view(PET, 0, number, 0, recipe)
        is_mirrored = difference(view, PET[:, ::-1]) < 0.01
        assert is_mirrored or np.array_equal(view, PET)
        mirrored += is_mirrored
    assert 70 < mirrored < 130


@pytest.mark.parametrize("zoom", [0.1, 0.4])
def test_zoom_scales_about_the_centre_by_no_more_than_it_says(zoom: float) -> None:
    """A square of 48 pixels in the middle becomes one of 48 / (1 + zoom) to 48 / (1 - zoom)."""
    square = np.zeros((97, 97, 3), np.uint8)
    square[24:73, 24:73] = 255
    widths, heights = [], []
    for number in range(200):
        view = make_view(square, 0, number, 0, Recipe(shear=0, zoom=zoom, flip=True))
        assert view[48, 48].min() == 255
        widths.append(view[48].mean(axis=-1).sum() / 255)
        heights.append(view[:, 48].mean(axis=-1).sum() / 255)
    for sizes in (widths, heights):
        assert 49 / (1 + zoom) - 1 <= min(sizes) < 49 / (1 + 0.8 * zoom)
        assert 49 / (1 - 0.8 * zoom) < max(sizes) <= 49 / (1 - zoom) + 1
    assert abs(np.corrcoef(widths, heights)[0, 1]) < 0.3  # apart from each other


def test_the_published_shear_is_a_fraction_of_a_pixel() -> None:
    """0.2 degrees on 96 pixels: 0.17 pixels at the edge."""
    views = [make_view(PET, 0, number, 0, Recipe(shear=0.2, zoom=0, flip=False)) for number in range(20)]
    assert 0 < max(difference(view, PET) for view in views) < 3
    far = [make_view(PET, 0, number, 0, Recipe(shear=20, zoom=0, flip=False)) for number in range(20)]
    assert max(difference(view, PET) for view in far) > 5
