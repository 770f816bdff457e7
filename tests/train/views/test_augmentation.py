import cv2
import numpy as np
import pytest

from catsdogs_edge.images.decode import RgbImage
from catsdogs_edge.images.drawings import draw
from catsdogs_train.views.augmentation import Recipe, make_view

PET = np.asarray(draw("cat", 1, 96), np.uint8)
NOTHING = Recipe()


def difference(first: RgbImage, second: RgbImage) -> float:
    return float(np.abs(first.astype(int) - second.astype(int)).mean())


@pytest.mark.parametrize("recipe", [NOTHING, Recipe(smallest=0.5, largest=1.2, anywhere=True, flip=True)])
def test_a_smaller_view_shows_the_same(recipe: Recipe) -> None:
    soft = np.asarray(cv2.GaussianBlur(PET, (0, 0), 2), np.uint8)  # sampling and averaging are then the same
    for number in range(5):
        whole, small = (make_view(soft, 0, number, 0, recipe, size) for size in (None, 48))
        assert small.shape == (48, 48, 3)
        assert difference(np.asarray(cv2.resize(whole, (48, 48), interpolation=cv2.INTER_AREA), np.uint8), small) < 1


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
    recipe = Recipe(flip=True)
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
        view = make_view(square, 0, number, 0, Recipe(smallest=1 - zoom, largest=1 + zoom, flip=True))
        assert view[48, 48].min() == 255
        widths.append(view[48].mean(axis=-1).sum() / 255)
        heights.append(view[:, 48].mean(axis=-1).sum() / 255)
    for sizes in (widths, heights):
        assert 49 / (1 + zoom) - 1 <= min(sizes) < 49 / (1 + 0.8 * zoom)
        assert 49 / (1 - 0.8 * zoom) < max(sizes) <= 49 / (1 - zoom) + 1
    assert abs(np.corrcoef(widths, heights)[0, 1]) < 0.3  # apart from each other


def test_the_published_shear_is_a_fraction_of_a_pixel() -> None:
    """0.2 degrees on 96 pixels: 0.17 pixels at the edge."""
    views = [make_view(PET, 0, number, 0, Recipe(shear=0.2)) for number in range(20)]
    assert 0 < max(difference(view, PET) for view in views) < 3
    far = [make_view(PET, 0, number, 0, Recipe(shear=20)) for number in range(20)]
    assert max(difference(view, PET) for view in far) > 5


def test_a_view_that_lies_anywhere_stays_within_the_image() -> None:
    """An image whose colours say where they are: red from left to right, green from top to bottom."""
    steps = np.linspace(50, 200, 96).astype(np.uint8)
    where = np.dstack([np.tile(steps, (96, 1)), np.tile(steps[:, np.newaxis], (1, 96)), np.full((96, 96), 9, np.uint8)])
    recipe = Recipe(smallest=0.5, largest=0.7, anywhere=True)
    views = [make_view(where, 0, number, 0, recipe) for number in range(200)]
    left = np.array([view[48, 0, 0] for view in views]).astype(int)
    right = np.array([view[48, -1, 0] for view in views]).astype(int)
    assert left.min() < 58
    assert right.max() > 192
    spans = (right - left) / 150
    assert 0.48 < spans.min() < 0.52
    assert 0.68 < spans.max() < 0.72


def test_colours_change_by_no_more_than_it_says() -> None:
    views = [make_view(PET, 0, number, 0, Recipe(colour=0.2)) for number in range(100)]
    shares = [view.mean() / PET.mean() for view in views]
    assert 0.7 < min(shares) < 0.9
    assert 1.1 < max(shares) < 1.3
    grey = np.full((32, 32, 3), 127, np.uint8)
    assert all(np.ptp(make_view(grey, 0, number, 0, Recipe(colour=0.2)), axis=2).max() <= 1 for number in range(20))


def test_a_view_has_the_detail_of_a_smaller_image() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (96, 96, 3), np.uint8)
    views = [make_view(noise, 0, number, 0, Recipe(soft=0.25)) for number in range(50)]
    details = [float(np.abs(np.diff(view.astype(int), axis=1)).mean()) for view in [noise, *views]]
    assert all(view.shape == noise.shape for view in views)
    assert abs(np.mean(views) - noise.mean()) < 1
    assert min(details) < 0.1 * details[0] < 0.3 * details[0] < max(details[1:]) <= details[0]


def test_a_rectangle_is_painted_over_in_as_many_views_as_it_says() -> None:
    views = [make_view(PET, 0, number, 0, Recipe(erase=0.25)) for number in range(400)]
    erased = [view for view in views if not np.array_equal(view, PET)]
    assert 70 < len(erased) < 130
    for view in erased:
        rows, columns = np.nonzero((view != PET).any(axis=2))
        assert np.ptp(rows) < 0.41 * 96
        assert np.ptp(columns) < 0.41 * 96
        assert len(np.unique(view[rows, columns], axis=0)) == 1


def test_bars_cross_as_many_views_as_it_says() -> None:
    plain = np.full((96, 96, 3), (255, 0, 255), np.uint8)  # not greyish, as the bars are
    views = [make_view(plain, 0, number, 0, Recipe(bars=0.25)) for number in range(400)]
    barred = [view for view in views if not np.array_equal(view, plain)]
    assert 70 < len(barred) < 130
    covered = []
    for view in barred:
        rows, columns = np.nonzero((view != plain).any(axis=2))
        assert max(np.ptp(rows), np.ptp(columns)) == 95
        covered.append(len(rows) / 96**2)
    assert 0.2 < np.median(covered) < 0.6
    assert max(covered) < 1  # something is left to see
