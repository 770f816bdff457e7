"""JPEG files that lack something, or have too much."""

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from catsdogs_edge.errors import ImageError
from catsdogs_edge.images.decode import decode
from catsdogs_edge.images.drawings import draw
from catsdogs_edge.images.jpeg import decode_jpeg
from tests.edge.conftest import RED, encode, plain
from tests.edge.images.test_decode import with_exif


def progressive(rgb: NDArray[np.uint8]) -> bytes:
    done, data = cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])
    assert done
    return data.tobytes()


def by_opencv(jpeg: bytes) -> NDArray[np.uint8]:
    return np.asarray(cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR_RGB), np.uint8)


@pytest.mark.parametrize("orientation", range(10))
def test_pixels_and_orientation_are_those_of_opencv(orientation: int) -> None:
    jpeg = with_exif(encode(draw("cat", 1)[:, :200], ".jpg"), orientation)
    assert np.array_equal(decode(jpeg), by_opencv(jpeg))


@pytest.mark.parametrize("quality", [5, 75, 100])
@pytest.mark.parametrize("sampling", [cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444])
@pytest.mark.parametrize("grey", [False, True])
def test_pixels_are_those_of_opencv_in_each_kind(quality: int, sampling: int, grey: bool) -> None:
    image = draw("dog", 4, 333)[:200]
    settings = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, sampling]
    jpeg = cv2.imencode(".jpg", image[..., 0] if grey else image, settings)[1].tobytes()
    assert np.array_equal(decode(jpeg), by_opencv(jpeg))


def test_a_very_large_one_is_decoded_at_a_lower_resolution() -> None:
    image = np.asarray(cv2.resize(draw("dog", 1, 400), (1001, 600)), np.uint8)
    jpeg = encode(image, ".jpg")
    for most, shape in ((600 * 1001, (600, 1001)), (600 * 1001 - 1, (300, 501)), (600 * 1001 // 4 - 1, (150, 251))):
        reduced = decode_jpeg(jpeg, most, 10**6)
        assert reduced.shape[:2] == shape
        expected = cv2.resize(image, shape[::-1], interpolation=cv2.INTER_AREA)
        assert np.abs(reduced.astype(int) - expected).mean() < 3
    with pytest.raises(ImageError, match="1 million pixels, expected 0 million"):
        decode_jpeg(jpeg, 10_000, 10_000)


def test_a_very_large_progressive_one_is_refused() -> None:
    with pytest.raises(ImageError, match="million pixels"):
        decode_jpeg(progressive(draw("cat", 2)), 10_000, 10**6)


def test_one_that_lacks_only_its_end_marker_is_whole() -> None:
    jpeg = encode(draw("cat", 1), ".jpg")
    assert np.array_equal(decode(jpeg[:-2]), decode(jpeg))


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_pixels_that_are_missing_in_the_middle_are_damage(share: float) -> None:
    jpeg = encode(draw("dog", 1), ".jpg")
    middle = int(len(jpeg) * share)
    with pytest.raises(ImageError, match="JPEG: Corrupt JPEG data"):
        decode(jpeg[:middle] + bytes(len(jpeg) - middle - 2) + jpeg[-2:])


def test_a_progressive_one_without_its_last_scans_is_truncated() -> None:
    jpeg = progressive(draw("cat", 2))
    last = jpeg.rindex(b"\xff\xda")
    with pytest.raises(ImageError, match="truncated JPEG: its last scans are missing"):
        decode(jpeg[:last])


def test_stray_bytes_between_segments_do_no_harm() -> None:
    jpeg = encode(plain(RED), ".jpg")
    table = jpeg.index(b"\xff\xdb")
    assert np.array_equal(decode(jpeg[:table] + b"stray" + jpeg[table:]), decode(jpeg))


def test_thousands_of_scans_are_refused_at_once() -> None:
    jpeg = progressive(draw("cat", 2))
    last = jpeg.rindex(b"\xff\xda")
    with pytest.raises(ImageError, match="more than 100 scans"):
        decode(jpeg[:last] + jpeg[last:-2] * 2000 + jpeg[-2:])
