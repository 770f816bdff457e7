import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from catsdogs_edge.images.budget import PixelBudget


@pytest.mark.parametrize(("pixels", "most"), [(10, 10), (50, 2), (60, 1), (1000, 1), (None, 1)])
def test_no_more_pixels_than_there_are_at_a_time(pixels: int | None, most: int) -> None:
    budget = PixelBudget(100)
    lock, now, seen = threading.Lock(), 0, 0
    together = threading.Barrier(most)

    def decode(_: int) -> None:
        nonlocal now, seen
        with budget.spend(pixels):
            with lock:
                now += 1
                seen = max(seen, now)
            together.wait(10)
            with lock:
                now -= 1

    with ThreadPoolExecutor(10) as pool:
        list(pool.map(decode, range(10)))
    assert seen == most


def test_an_image_that_fails_gives_its_pixels_back() -> None:
    budget = PixelBudget(100)
    for _ in range(3):
        with pytest.raises(ValueError, match="damaged"), budget.spend(100):
            raise ValueError("damaged")
