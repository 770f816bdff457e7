"""Damaged images through `decode`: it answers with pixels or with an `ImageError`, and with nothing else.

How long is set by CATSDOGS_FUZZ, the number of damaged files; `make fuzz` tries many.
"""

import os

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from catsdogs_edge.errors import ImageError
from catsdogs_edge.images.decode import decode, resize
from catsdogs_edge.images.drawings import draw
from tests.edge.model import test_fuzz as models

EXAMPLES = int(os.environ.get("CATSDOGS_FUZZ", "300"))
PET = np.asarray(draw("dog", 4, 48)[..., ::-1], np.uint8)
ENDINGS = (".jpg", ".png", ".webp", ".bmp", ".tiff", ".gif")
SEEDS = [cv2.imencode(ending, PET)[1].tobytes() for ending in ENDINGS]
SEEDS.append(cv2.imencode(".jpg", PET, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes())


@st.composite
def damaged(draw_from: st.DrawFn) -> bytes:
    """An image's file with a few bytes changed, cut out, doubled or put in; most of them in its header."""
    data = bytearray(draw_from(st.sampled_from(SEEDS)))
    for _ in range(draw_from(st.integers(1, 8))):
        header = draw_from(st.booleans())
        index = draw_from(st.integers(0, min(len(data) - 1, 64) if header else len(data) - 1))
        length = draw_from(st.integers(1, 16))
        match draw_from(st.sampled_from(["change", "cut", "double", "insert", "truncate"])):
            case "change":
                data[index : index + length] = draw_from(st.binary(min_size=length, max_size=length))
            case "cut":
                del data[index : index + length]
            case "double":
                data[index:index] = data[index : index + length]
            case "insert":
                data[index:index] = draw_from(st.binary(min_size=1, max_size=length))
            case _:
                del data[max(index, 1) :]
        if not data:
            return b""
    return bytes(data)


def check(data: bytes) -> None:
    try:
        image = decode(data)
    except ImageError:
        return
    assert image.dtype == np.uint8
    assert image.ndim == 3
    assert image.shape[2] == 3
    assert resize(image, 224).shape == (224, 224, 3)


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(damaged())
def test_a_damaged_image_is_pixels_or_an_error(data: bytes) -> None:
    check(data)


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.binary(max_size=200), st.sampled_from([b"", *(seed[:24] for seed in SEEDS)]))
def test_any_bytes_are_pixels_or_an_error(data: bytes, start: bytes) -> None:
    check(start + data)


@pytest.mark.parametrize("ending", ENDINGS)
def test_the_seeds_are_images(ending: str) -> None:
    assert decode(SEEDS[ENDINGS.index(ending)]).shape == (48, 48, 3)


@pytest.mark.slow
@pytest.mark.parametrize("ending", [".avif", ".bmp", ".gif", ".jpg", ".png", ".tiff", ".webp"])
def test_hundreds_of_damaged_images(ending: str) -> None:
    whole = cv2.imencode(ending, draw("dog", 1, 64))[1].tobytes()
    found = {"pixels": 0, "errors": 0}
    for seed in range(150):
        try:
            assert decode(models.damaged(whole, seed)).ndim == 3
            found["pixels"] += 1
        except ImageError:
            found["errors"] += 1
    assert found["errors"]
