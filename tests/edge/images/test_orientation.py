import struct

import numpy as np
import pytest

from catsdogs_edge.images.orientation import avif_orientation, exif_orientation, turn


def box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content) + 8) + kind + content


def avif(*properties: bytes) -> bytes:
    """What of an AVIF says how it is turned."""
    item = box(b"ipco", box(b"ispe", bytes(12)) + b"".join(properties))
    return box(b"ftyp", b"avif") + box(b"meta", bytes(4) + box(b"hdlr", bytes(8)) + box(b"iprp", item))


@pytest.mark.parametrize(
    ("properties", "expected"),
    [
        ((), 1),
        ((box(b"irot", b"\0"),), 1),
        ((box(b"irot", b"\1"),), 8),
        ((box(b"irot", b"\2"),), 3),
        ((box(b"irot", b"\3"),), 6),
        ((box(b"imir", b"\0"),), 4),
        ((box(b"imir", b"\1"),), 2),
        ((box(b"irot", b"\3"), box(b"imir", b"\1")), 5),
        ((box(b"irot", b"\1"), box(b"imir", b"\1")), 7),
    ],
)
def test_an_avif_says_how_it_is_turned(properties: tuple[bytes, ...], expected: int) -> None:
    assert avif_orientation(avif(*properties)) == expected


@pytest.mark.parametrize("quarters", range(4))
@pytest.mark.parametrize("axis", [None, 0, 1])
def test_what_an_avif_says_is_what_becomes_of_the_pixels(quarters: int, axis: int | None) -> None:
    pixels = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    expected = np.rot90(pixels, quarters)
    properties = [box(b"irot", bytes([quarters]))]
    if axis is not None:
        expected = np.flip(expected, axis)
        properties.append(box(b"imir", bytes([axis])))
    assert np.array_equal(turn(pixels, avif_orientation(avif(*properties))), expected)


def test_half_a_file_is_upright() -> None:
    whole = avif(box(b"irot", b"\3"))
    assert {avif_orientation(whole[:size]) for size in range(len(whole))} == {1}


def test_exif_of_both_byte_orders() -> None:
    for order, start in (("<", b"II*\0"), (">", b"MM\0*")):
        tiff = start + struct.pack(f"{order}IHHHIHHI", 8, 1, 0x0112, 3, 1, 6, 0, 0)
        assert exif_orientation(tiff) == 6
        assert {exif_orientation(tiff[:size]) for size in range(20)} == {1}
    assert exif_orientation(b"II*\0\xff\xff\xff\xff") == exif_orientation(b"no tiff") == 1
