import cv2
import numpy as np
import pytest

from catsdogs_edge.errors import ImageError
from catsdogs_edge.images import headers
from catsdogs_edge.images.decode import decode

IMAGE = np.zeros((30, 50, 3), np.uint8)
LOSSLESS = [cv2.IMWRITE_WEBP_QUALITY, 101]


@pytest.mark.parametrize(
    ("ending", "options"),
    [(".png", []), (".gif", []), (".bmp", []), (".webp", []), (".webp", LOSSLESS), (".tiff", []), (".avif", [])],
)
def test_the_header_says_how_many_pixels_there_are(ending: str, options: list[int]) -> None:
    data = cv2.imencode(ending, IMAGE, options)[1].tobytes()
    assert headers.count_pixels(data) == 30 * 50
    for cut in range(min(len(data), 400)):
        headers.count_pixels(data[:cut])


def test_an_animation_s_header_says_it_too() -> None:
    frames = cv2.Animation()
    frames.frames, frames.durations = [IMAGE, IMAGE + 1], [10, 10]
    done, data = cv2.imencodeanimation(".webp", frames)
    assert done
    assert headers.count_pixels(data.tobytes()) == 30 * 50


def test_what_is_none_of_these_is_unknown() -> None:
    for data in (b"", b"text", b"\xff\xd8\xff", cv2.imencode(".ppm", IMAGE)[1].tobytes()):
        assert headers.count_pixels(data) is None


def test_a_bmp_that_lies_upside_down_has_pixels_too() -> None:
    data = bytearray(cv2.imencode(".bmp", IMAGE)[1].tobytes())
    data[22:26] = (-30).to_bytes(4, "little", signed=True)
    assert headers.count_pixels(bytes(data)) == 30 * 50


@pytest.mark.parametrize(("ending", "start", "size"), [(".gif", 6, 2), (".bmp", 18, 4)])
def test_too_many_pixels_are_refused_before_any_is_decoded(ending: str, start: int, size: int) -> None:
    data = cv2.imencode(ending, IMAGE)[1].tobytes()
    huge = (30_000).to_bytes(size, "little")
    with pytest.raises(ImageError, match="900 million pixels, expected 67 million at most"):
        decode(data[:start] + 2 * huge + data[start + 2 * size :])


def test_a_bmp_of_os2_is_counted_by_its_own_header_and_a_text_not_at_all() -> None:
    def number(value: int, size: int) -> bytes:
        return value.to_bytes(size, "little")

    old = b"BM" + bytes(12) + number(12, 4) + number(128, 2) + number(64, 2) + number(1, 2) + number(24, 2)
    assert headers.count_pixels(old + bytes(99)) == 128 * 64
    assert headers.count_pixels(b"BMW is a maker of cars and motorcycles in Munich") is None


def test_what_cannot_be_counted_is_not_decoded() -> None:
    """OpenCV would: a few bytes of these can be any number of pixels."""
    whole = cv2.imencode(".tiff", IMAGE)[1].tobytes()
    big = b"II+\0" + whole[4:]
    bmp = bytearray(cv2.imencode(".bmp", IMAGE)[1].tobytes())
    bmp[14:18] = (300).to_bytes(4, "little")
    for data in (big, bytes(bmp), cv2.imencode(".ppm", IMAGE)[1].tobytes()):
        assert headers.count_pixels(data) is None
        with pytest.raises(ImageError, match="not an image, or a truncated one: expected JPEG"):
            decode(data)


def test_an_avif_of_another_main_brand_is_counted_too() -> None:
    data = bytearray(cv2.imencode(".avif", IMAGE)[1].tobytes())
    end = int.from_bytes(data[:4], "big")
    assert b"avif" in data[16:end]
    data[8:12] = b"mif1"
    assert headers.count_pixels(bytes(data)) == 30 * 50
    assert decode(bytes(data)).shape == (30, 50, 3)
    assert not headers.is_avif(b"\0\0\0\x18ftypmp42" + bytes(4) + b"isommp42")
