import os
import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from catsdogs_edge.errors import ImageError
from catsdogs_edge.images.decode import decode, load, read, resize
from catsdogs_edge.images.drawings import draw
from tests.edge.conftest import RED, encode, plain


def with_exif(jpeg: bytes, orientation: int, thumbnail: bytes = b"") -> bytes:
    """Puts an EXIF segment with the orientation, and a thumbnail behind it, into a JPEG."""
    tiff = b"II*\0" + struct.pack("<IHHHIHHI", 8, 1, 0x0112, 3, 1, orientation, 0, 0) + thumbnail
    payload = b"Exif\0\0" + tiff
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(payload) + 2) + payload + jpeg[2:]


def test_decode_gives_rgb() -> None:
    image = decode(encode(plain(RED)))
    assert image.shape == (60, 80, 3)
    assert image.dtype == np.uint8
    assert tuple(image[0, 0]) == RED


@pytest.mark.parametrize(("orientation", "turn"), [(3, cv2.ROTATE_180), (6, cv2.ROTATE_90_CLOCKWISE)])
def test_exif_orientation_is_applied(orientation: int, turn: int) -> None:
    jpeg = encode(draw("cat", 1)[:, :200], ".jpg")
    upright = cv2.rotate(decode(jpeg), turn)
    assert np.array_equal(decode(with_exif(jpeg, orientation)), upright)


@pytest.mark.parametrize("share", [0.02, 0.1, 0.5, 0.9, 0.999])
def test_truncated_jpeg_is_refused(share: float) -> None:
    jpeg = encode(draw("dog", 1), ".jpg")
    with pytest.raises(ImageError, match=r"truncated JPEG"):
        decode(jpeg[: int(len(jpeg) * share)])


def test_the_thumbnail_s_end_does_not_hide_a_truncation() -> None:
    jpeg = with_exif(encode(draw("dog", 1), ".jpg"), 1, thumbnail=encode(plain(RED, 16, 16), ".jpg"))
    decode(jpeg)
    with pytest.raises(ImageError, match="truncated JPEG"):
        decode(jpeg[:-200])


def test_progressive_jpeg_with_something_behind_its_end_is_whole() -> None:
    done, data = cv2.imencode(".jpg", draw("cat", 2), [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])
    assert done
    assert decode(data.tobytes() + b"something that a phone adds").shape == (256, 256, 3)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"<html>no image</html>", "not an image"),
        (b"\xff\xd8", "truncated"),
        (encode(draw("cat", 1), ".png")[:-500], "truncated"),
    ],
)
def test_what_is_no_image_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(ImageError, match=reason):
        decode(data)


@given(st.binary(max_size=300))
def test_decode_raises_nothing_but_image_errors(data: bytes) -> None:
    for start in (b"", b"\xff\xd8", b"\xff\xd8\xff\xda", b"\x89PNG\r\n\x1a\n"):
        try:
            decode(start + data)
        except ImageError:
            continue


def test_reading_says_what_is_wrong_with_the_path(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="no such file"):
        read(tmp_path / "missing.jpg")
    with pytest.raises(ImageError, match="a folder"):
        read(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ImageError, match="not a regular file"):
        read(tmp_path / "pipe")


def test_resize_averages_where_it_shrinks() -> None:
    checkered = np.zeros((448, 448, 3), np.uint8)
    checkered[::2, ::2] = checkered[1::2, 1::2] = 200
    assert np.all(resize(checkered, 224) == 100)


def test_resize_interpolates_where_it_grows() -> None:
    step = np.zeros((2, 2, 3), np.uint8)
    step[:, 1] = 200
    row = resize(step, 224)[0, :, 0].astype(int)
    assert row[0] == 0
    assert row[-1] == 200
    assert np.diff(row).max() <= 2  # a ramp, where nearest neighbour and area repeat pixels


def test_resize_keeps_what_has_the_size() -> None:
    image = draw("cat", 3, 224)
    assert np.array_equal(resize(image, 224), image)


@given(st.integers(1, 700), st.integers(1, 700))
def test_resize_always_gives_the_size_and_keeps_a_plain_colour(height: int, width: int) -> None:
    resized = resize(plain(RED, height, width), 224)
    assert resized.shape == (224, 224, 3)
    assert np.all(np.abs(resized.astype(int) - RED) <= 1)  # fixed-point rounding


def test_load_decodes_and_resizes(tmp_path: Path) -> None:
    path = tmp_path / "no ending"
    path.write_bytes(encode(plain(RED)))
    assert load(path, 32).shape == (32, 32, 3)
