"""Reads what image files say of themselves, before any pixel is decoded."""

from collections.abc import Iterator

PNG_START = b"\x89PNG\r\n\x1a\n"
GIF_START = b"GIF8"
_AVIF_BRANDS = frozenset({b"avif", b"avis"})

_WIDTH, _HEIGHT = 0x0100, 0x0101  # tags of TIFF 6.0
_SHORT, _LONG = 3, 4
_OS2_HEADER, _OTHER_HEADERS = 12, range(16, 256)  # bytes of the second header of a BMP; a text has letters there


def count_pixels(data: bytes) -> int | None:
    """Returns how many pixels a PNG, GIF, BMP, WebP, TIFF or AVIF will have; None where its header does not say."""
    if data.startswith(PNG_START):
        width, height = int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
    elif data.startswith(GIF_START):
        width, height = _little(data[6:8]), _little(data[8:10])
    elif data.startswith(b"BM") and _little(data[14:18]) == _OS2_HEADER:
        width, height = _little(data[18:20]), _little(data[20:22])
    elif data.startswith(b"BM") and _little(data[14:18]) in _OTHER_HEADERS:
        width, height = (abs(_little(data[start : start + 4], signed=True)) for start in (18, 22))
    elif data[8:16] == b"WEBPVP8X":
        width, height = _little(data[24:27]) + 1, _little(data[27:30]) + 1
    elif data[8:16] == b"WEBPVP8L":
        bits = _little(data[21:25])
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    elif data[8:16] == b"WEBPVP8 ":
        width, height = _little(data[26:28]) & 0x3FFF, _little(data[28:30]) & 0x3FFF
    elif tags := tiff_tags(data):
        width, height = tags.get(_WIDTH, 0), tags.get(_HEIGHT, 0)
    elif is_avif(data):
        return max((_area(content) for kind, content in avif_properties(data) if kind == b"ispe"), default=None)
    else:
        return None
    return width * height or None


def too_many(pixels: int, most: int) -> str:
    """Says that an image is too large."""
    return f"{pixels / 1e6:.0f} million pixels, expected {most / 1e6:.0f} million at most"


def tiff_tags(tiff: bytes) -> dict[int, int]:
    """Reads the whole numbers in the first directory of a TIFF file, as which EXIF comes, too; empty for others."""
    order = {b"II*\0": "little", b"MM\0*": "big"}.get(tiff[:4])
    if order is None:
        return {}

    def number(position: int, size: int) -> int:
        return int.from_bytes(tiff[position : position + size], "little" if order == "little" else "big")

    first = number(4, 4)
    entries = range(first + 2, min(first + 2 + 12 * number(first, 2), len(tiff) - 11), 12)
    sizes = {_SHORT: 2, _LONG: 4}
    tags: dict[int, int] = {}
    for entry in entries:
        if size := sizes.get(number(entry + 2, 2)):
            tags.setdefault(number(entry, 2), number(entry + 8, size))
    return tags


def is_avif(data: bytes) -> bool:
    """Returns whether a file says that it is an AVIF, as its main brand or another of its first box."""
    end = min(int.from_bytes(data[:4], "big"), len(data))
    return data[4:8] == b"ftyp" and not _AVIF_BRANDS.isdisjoint(data[start : start + 4] for start in range(8, end, 4))


def avif_properties(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yields kind and content of the properties of an AVIF's items."""
    box = data
    for name, skipped in ((b"meta", 4), (b"iprp", 0), (b"ipco", 0)):
        box = next((content[skipped:] for kind, content in _boxes(box) if kind == name), b"")
    return _boxes(box)


def _little(data: bytes, *, signed: bool = False) -> int:
    return int.from_bytes(data, "little", signed=signed)


def _area(ispe: bytes) -> int:
    return int.from_bytes(ispe[4:8], "big") * int.from_bytes(ispe[8:12], "big")


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yields kind and content of the boxes in a part of an ISO base media file; stops at one that is not whole."""
    position = 0
    while position + 8 <= len(data):
        size = int.from_bytes(data[position : position + 4], "big")
        if not 8 <= size <= len(data) - position:
            return
        yield data[position + 4 : position + 8], data[position + 8 : position + size]
        position += size
