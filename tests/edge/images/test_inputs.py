import io
from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import pytest

from catsdogs_edge.errors import ImageError
from catsdogs_edge.images.decode import RgbImage, load
from catsdogs_edge.images.drawings import draw
from catsdogs_edge.images.inputs import describe_input, load_input

SIZE = 48


@pytest.fixture(scope="module")
def png(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("inputs") / "cat.png"
    PIL.Image.fromarray(pixels()).save(path)
    return path


def pixels() -> RgbImage:
    return np.asarray(draw("cat", 3, 96), np.uint8)[:80]


def test_each_way_to_hand_over_an_image_gives_the_same_pixels(png: Path) -> None:
    expected = load(png, SIZE)
    data = png.read_bytes()
    for image in (png, str(png), data, bytearray(data), memoryview(data), pixels(), PIL.Image.open(png)):
        np.testing.assert_array_equal(load_input(image, SIZE), expected)


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "LA", "1", "CMYK"])
def test_every_mode_of_pillow_is_what_pillow_makes_rgb_of(mode: str) -> None:
    image = PIL.Image.fromarray(pixels()).convert(mode)
    found = load_input(image, SIZE)
    np.testing.assert_array_equal(found, load_input(np.asarray(image.convert("RGB")), SIZE))


def test_sixteen_bits_of_pillow_become_eight_as_those_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "grey.png"
    assert cv2.imwrite(str(path), np.arange(64 * 64, dtype=np.uint16).reshape(64, 64) * 16)
    image = PIL.Image.open(path)
    assert image.mode.startswith("I;16")
    np.testing.assert_array_equal(load_input(image, 64), load(path, 64))


def test_an_image_of_pillow_is_turned_upright_once(tmp_path: Path) -> None:
    path = tmp_path / "turned.jpg"
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    PIL.Image.fromarray(pixels()).save(path, exif=exif, quality=100, subsampling=0)
    found = load_input(PIL.Image.open(path), SIZE).astype(np.int16)
    assert np.abs(found - load(path, SIZE)).max() <= 2  # two decoders of JPEG
    upright = PIL.ImageOps.exif_transpose(PIL.Image.open(path)) if hasattr(PIL, "ImageOps") else None
    if upright is not None:
        np.testing.assert_array_equal(load_input(upright, SIZE), found)


def test_an_image_of_pillow_that_is_cut_off_is_an_error(png: Path) -> None:
    image = PIL.Image.open(io.BytesIO(png.read_bytes()[:2000]))
    with pytest.raises(ImageError, match="Pillow refuses it"):
        load_input(image, SIZE)
    with pytest.raises(ImageError, match="mode F, whose range nobody knows"):
        load_input(PIL.Image.fromarray(np.zeros((9, 9), np.float32)), SIZE)


@pytest.mark.parametrize("image", [None, 3, 1.5, {"path": "x"}, object(), [1]])
def test_what_holds_no_image_is_a_type_error_that_says_what_does(image: object) -> None:
    with pytest.raises(TypeError, match=r"expected a path, the bytes of an image file, .*; found builtins\.\w+$"):
        load_input(image, SIZE)


def test_a_message_names_a_path_or_a_number() -> None:
    assert describe_input(Path("a/b.jpg"), 3) == "a/b.jpg"
    assert describe_input(b"", 3) == "image 3"
