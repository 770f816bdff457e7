"""Whatever a user drops on it: a bad file is a row with its reason, an odd one is classified, and the run goes on."""

import csv
import os
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from catsdogs_edge.images.decode import RgbImage
from catsdogs_edge.images.drawings import draw
from tests.edge.conftest import RED, encode, plain

linux = pytest.mark.skipif(sys.platform != "linux", reason="uses Linux' own files and limits")

PET = np.asarray(draw("cat", 1, 240), np.uint8)


def bgr(rgb: RgbImage) -> RgbImage:
    return np.asarray(rgb[..., ::-1], np.uint8)


def encoded(pixels: np.ndarray, ending: str, *options: int) -> bytes:
    done, data = cv2.imencode(ending, pixels, list(options))
    assert done, ending
    return data.tobytes()


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width: int, height: int, depth: int, colour: int, rows: bytes, *before: bytes) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(before) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def bomb(edge: int = 60_000) -> bytes:
    """A one-bit PNG of 60000 x 60000: half a megabyte that would be 10 GB of pixels."""
    row = b"\0" * (1 + edge // 8)
    packer = zlib.compressobj(1)
    rows = b"".join(packer.compress(row * 1000) for _ in range(edge // 1000)) + packer.flush()
    return png(edge, edge, 1, 0, rows)


def palette() -> bytes:
    """A PNG of 64 x 64 whose pixels are numbers of two colours."""
    rows = b"".join(b"\0" + bytes([line % 2] * 64) for line in range(64))
    return png(64, 64, 8, 3, zlib.compress(rows), chunk(b"PLTE", bytes([*RED, 250, 10, 20])))


def cmyk_jpeg() -> bytes:
    """A JPEG of four components, by naming them so: Adobe's marker, and a frame of four."""
    pixels = cv2.imencode(".jpg", np.full((64, 64), 128, np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes()
    frame = pixels.index(b"\xff\xc0")
    height_width = pixels[frame + 5 : frame + 9]
    four = bytes([8]) + height_width + bytes([4]) + b"".join(bytes([n, 0x11, 0]) for n in range(1, 5))
    scan = pixels.index(b"\xff\xda")
    # In the usual Huffman tables a block of medium grey is 00 (no change) and 1010 (end): 6 bits, four of them 3 bytes.
    data = bytes.fromhex("28a28a") * 64
    quarter = bytes([4]) + b"".join(bytes([n, 0x00]) for n in range(1, 5)) + b"\0\x3f\0"
    adobe = b"\xff\xee" + struct.pack(">H", 14) + b"Adobe\0\x64\0\0\0\0\0"
    frame_length = int.from_bytes(pixels[frame + 2 : frame + 4], "big")
    return b"".join([
        pixels[:2], adobe, pixels[2:frame],
        b"\xff\xc0", struct.pack(">H", 2 + len(four)), four,
        pixels[frame + 2 + frame_length : scan],
        b"\xff\xda", struct.pack(">H", 2 + len(quarter)), quarter, data, b"\xff\xd9",
    ])  # fmt: skip


def with_exif(jpeg: bytes, orientation: int) -> bytes:
    tiff = b"II*\0" + struct.pack("<IHHHIHHI", 8, 1, 0x0112, 3, 1, orientation, 0, 0)
    segment = b"Exif\0\0" + tiff
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + jpeg[2:]


JPEG, PNG = encoded(bgr(PET), ".jpg"), encoded(bgr(PET), ".png")

BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "empty.jpg": (lambda path: path.touch(), "empty file"),
    "truncated.jpg": (lambda path: path.write_bytes(JPEG[: len(JPEG) // 2]), "truncated JPEG"),
    "truncated.png": (lambda path: path.write_bytes(PNG[: len(PNG) // 2]), "truncated PNG"),
    "checksum.png": (lambda path: path.write_bytes(PNG[:-20] + b"\x55" + PNG[-19:]), "a checksum is wrong"),
    "text.jpg": (lambda path: path.write_text("no image at all"), "not an image"),
    "page.jpg": (lambda path: path.write_text("<!DOCTYPE html><html>404</html>"), "not an image"),
    "random.jpg": (lambda path: path.write_bytes(np.random.default_rng(1).bytes(5000)), "not an image"),
    "bomb.png": (lambda path: path.write_bytes(bomb()), "million at most"),
    "dangling.jpg": (lambda path: path.symlink_to("nowhere"), "a link to a file that does not exist"),
    "loop.jpg": (lambda path: path.symlink_to(path.name), "cannot be read: Too many levels of symbolic links"),
    **({"fifo.jpg": (os.mkfifo, "not a regular file")} if hasattr(os, "mkfifo") else {}),
    "folder.jpg": (lambda path: path.mkdir(), "a folder"),
    "unreadable.jpg": (lambda path: path.symlink_to("/proc/self/mem"), "cannot be read"),
}

TALL = np.asarray(cv2.resize(PET, (1, 3000), interpolation=cv2.INTER_AREA), np.uint8).reshape(3000, 1, 3)
LARGE = np.asarray(cv2.resize(PET, (4000, 3000)), np.uint8)
PROGRESSIVE = (cv2.IMWRITE_JPEG_PROGRESSIVE, 1)

GOOD: dict[str, bytes] = {
    "grey.png": encoded(PET[..., 0], ".png"),
    "grey.jpg": encoded(PET[..., 0], ".jpg"),
    "cmyk.jpg": cmyk_jpeg(),
    "16bit.png": encoded(bgr(PET).astype(np.uint16) * 257, ".png"),
    "palette.png": palette(),
    "alpha.png": encoded(np.dstack([bgr(PET), PET[..., 0]]), ".png"),
    "still.gif": encoded(bgr(PET), ".gif"),
    "image.webp": encoded(bgr(PET), ".webp"),
    "image.bmp": encoded(bgr(PET), ".bmp"),
    "image.tiff": encoded(bgr(PET), ".tiff"),
    "progressive.jpg": encoded(bgr(PET), ".jpg", *PROGRESSIVE),
    "really a png.jpg": PNG,
    "one pixel.png": encoded(bgr(PET[:1, :1]), ".png"),
    "line.png": encoded(bgr(TALL), ".png"),
    "12 megapixels.jpg": encoded(bgr(LARGE), ".jpg"),
    "with spaces, commas; and 'quotes' \".jpg": JPEG,
    "two\nlines.jpg": JPEG,
    "-dash.jpg": JPEG,
    "кошка.jpg": JPEG,
    "🐈.jpg": JPEG,
    "ends oddly.JPEG": JPEG,
}

IGNORED = ("Thumbs.db", ".hidden.jpg", "notes.txt", ".folder/image.jpg", "archive.zip")


@pytest.fixture(scope="session")
def drop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all of it."""
    folder = tmp_path_factory.mktemp("hostile") / "drop"
    folder.mkdir()
    for name, (make, _) in BAD.items():
        make(folder / name)
    for name, data in GOOD.items():
        (folder / name).write_bytes(data)
    for name in IGNORED:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(JPEG)
    (folder / "sub").mkdir()
    (folder / "sub" / "up").symlink_to("..")
    (folder / "sub" / "image.jpg").write_bytes(JPEG)
    return folder


def limit_memory() -> None:
    import resource  # noqa: PLC0415 - not on Windows

    resource.setrlimit(resource.RLIMIT_AS, (2**31, 2**31))


@pytest.fixture(scope="session")
def rows(drop: Path, scripts: Path, tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    """What `catsdogs-classify` makes of it, by name; in a process that may not take more than 2 GB."""
    out = tmp_path_factory.mktemp("hostile") / "rows.csv"
    done = subprocess.run(
        [scripts / "catsdogs-classify", drop, "--model", tiny, "--csv", out],
        capture_output=True, text=True, check=False, timeout=60, stdin=subprocess.DEVNULL,
        preexec_fn=limit_memory,
    )  # fmt: skip
    assert done.returncode == 3, done.stderr
    link, line = done.stderr.splitlines()  # neither libpng nor libjpeg says anything
    assert link == f"{drop / 'sub' / 'up'} is a link to a folder, and left out"
    assert set(line.partition("; left out: ")[2].partition(";")[0].split(", ")) == {"1 .db", "1 .txt", "1 .zip"}
    assert f"{len(BAD) + len(GOOD) + 1} images" in line
    with out.open(newline="", encoding="utf-8") as stream:
        return {str(Path(row["path"]).relative_to(drop)): row for row in csv.DictReader(stream)}


@linux
@pytest.mark.parametrize("name", BAD)
def test_what_is_no_image_is_a_row_with_the_reason(name: str, rows: dict[str, dict[str, str]]) -> None:
    assert BAD[name][1] in rows[name]["error"]
    assert rows[name]["label"] == ""


@linux
@pytest.mark.parametrize("name", GOOD)
def test_an_odd_image_is_classified(name: str, rows: dict[str, dict[str, str]]) -> None:
    assert rows[name]["error"] == ""
    assert rows[name]["label"] in {"cat", "dog"}


@linux
def test_what_is_not_meant_is_left_out_and_loops_end(rows: dict[str, dict[str, str]]) -> None:
    assert rows.keys() == BAD.keys() | GOOD.keys() | {"sub/image.jpg"}


@linux
def test_the_same_image_in_other_formats_has_the_same_label(rows: dict[str, dict[str, str]]) -> None:
    for name in ("16bit.png", "alpha.png", "image.bmp", "image.tiff", "really a png.jpg"):
        assert float(rows[name]["cat"]) == pytest.approx(float(rows["ends oddly.JPEG"]["cat"]), abs=0.02), name


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_image_gets_the_answer_of_the_upright_one(
    orientation: int, scripts: Path, tiny: Path, tmp_path: Path
) -> None:
    """As phones save them: the pixels lie on their side, and EXIF says how to turn them."""
    turn: dict[int, Callable[[RgbImage], object]] = {
        1: lambda image: image,
        2: lambda image: cv2.flip(image, 1),
        3: lambda image: cv2.rotate(image, cv2.ROTATE_180),
        4: lambda image: cv2.flip(image, 0),
        5: cv2.transpose,
        6: lambda image: cv2.rotate(image, cv2.ROTATE_90_COUNTERCLOCKWISE),
        7: lambda image: cv2.rotate(cv2.transpose(image), cv2.ROTATE_180),
        8: lambda image: cv2.rotate(image, cv2.ROTATE_90_CLOCKWISE),
    }
    upright = np.ascontiguousarray(PET[:, :160])
    turned = np.asarray(turn[orientation](upright), np.uint8)
    lossless = (cv2.IMWRITE_JPEG_QUALITY, 100, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444)
    (tmp_path / "upright.jpg").write_bytes(encoded(bgr(upright), ".jpg", *lossless))
    (tmp_path / "turned.jpg").write_bytes(with_exif(encoded(bgr(turned), ".jpg", *lossless), orientation))
    done = subprocess.run(
        [scripts / "catsdogs-classify", tmp_path, "--model", tiny, "--csv", "-"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    found = {Path(row["path"]).stem: float(row["cat"]) for row in csv.DictReader(done.stdout.splitlines())}
    assert found["turned"] == pytest.approx(found["upright"], abs=2e-3)


def test_names_with_a_dash_need_two_more(scripts: Path, tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "-x.png").write_bytes(encode(plain(RED)))
    done = subprocess.run(
        [scripts / "catsdogs-classify", "--model", tiny, "--", "-x.png"],
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


MODELS: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "random": lambda _: np.random.default_rng(1).bytes(5000),
    "text": lambda _: b"this is no model",
    "truncated": lambda data: data[: len(data) // 2],
    "without a contract": lambda data: data.replace(b"catsdogs.contract", b"catsdogs.contracT"),
    "an image": lambda _: JPEG,
}


@pytest.mark.parametrize("what", MODELS)
@pytest.mark.parametrize("command", ["catsdogs-classify", "catsdogs-cam", "catsdogs-doctor"])
def test_what_is_no_model_is_one_line(what: str, command: str, scripts: Path, tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(MODELS[what](tiny.read_bytes()))
    (tmp_path / "x.png").write_bytes(PNG)
    source = [] if command == "catsdogs-doctor" else ["x.png"]
    done = subprocess.run(
        [scripts / command, *source, "--model", "model.onnx"],
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"{command}: model.onnx ")
