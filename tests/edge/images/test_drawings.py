from pathlib import Path

import numpy as np
import pytest

from catsdogs_edge.images.decode import read
from catsdogs_edge.images.drawings import KINDS, draw, write_folder


@pytest.mark.parametrize("kind", KINDS)
def test_a_seed_gives_one_image(kind: str) -> None:
    image = draw(kind, 7, 96)
    assert image.shape == (96, 96, 3)
    assert image.dtype == np.uint8
    assert np.array_equal(image, draw(kind, 7, 96))
    assert not np.array_equal(image, draw(kind, 8, 96))


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="'cow'"):
        draw("cow", 0)


def test_a_folder_holds_what_was_drawn(tmp_path: Path) -> None:
    write_folder(tmp_path, per_class=2, first_seed=5)
    assert {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.png")} == {
        "cat/5.png", "cat/6.png", "dog/5.png", "dog/6.png",
    }  # fmt: skip
    assert np.array_equal(read(tmp_path / "dog" / "6.png"), draw("dog", 6))
    write_folder(tmp_path, per_class=1, kinds=["room"])
    assert np.array_equal(read(tmp_path / "room" / "0.png"), draw("room", 0))
