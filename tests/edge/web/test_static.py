"""The files of the pages: what comes from others is what they published, and pixels are OpenCV's."""

import gzip
import hashlib
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from catsdogs_edge.images.decode import resize
from catsdogs_edge.web.pages import STATIC

ONNXRUNTIME_WEB = "1.30.0"
PUBLISHED = {  # SHA-256 of the files in the npm package of that version
    "ort.wasm.bundle.min.mjs": "11e64bd8ffe11bd1a2a2f0d6275fdfbbba7262f0b76b99b53d228a8a22ef3d90",
    "ort-wasm-simd-threaded.wasm": "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2",
}
SHRINKING = [
    (480, 640), (720, 1280), (1080, 1920), (448, 448), (672, 448), (500, 333), (301, 777), (896, 672), (225, 225),
    (224, 1000), (1000, 224), (224, 224), (450, 225), (333, 500), (768, 1024), (1200, 900), (375, 500), (227, 4000),
    (2048, 1536), (640, 480), (999, 998), (449, 447),
]  # fmt: skip
GROWING = [(200, 200), (100, 300), (150, 224), (64, 64), (1, 1), (223, 230), (30, 1000)]
SIZES = (224, 192)

needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="needs Node.js (on Debian: apt install nodejs)")


def resize_in_node(images: list[np.ndarray], size: int, folder: Path) -> list[np.ndarray]:
    """What resize.js makes of images, all in one process."""
    for index, image in enumerate(images):
        image.tofile(folder / f"{index}.in")
    shapes = [[image.shape[1], image.shape[0]] for image in images]
    script = f"""
        import {{ readFileSync, writeFileSync }} from "node:fs";
        import {{ resize }} from "{(STATIC / "resize.js").as_uri()}";
        {shapes}.forEach(([width, height], index) => {{
            const pixels = new Uint8Array(readFileSync(`{folder}/${{index}}.in`));
            writeFileSync(`{folder}/${{index}}.out`, resize(pixels, 3, width, height, {size}));
        }});
    """
    module = folder / "resize.mjs"
    module.write_text(script)
    subprocess.run(["node", module], check=True)
    results = [np.fromfile(folder / f"{index}.out", np.uint8) for index in range(len(images))]
    return [result.reshape(size, size, 3) for result in results]


@needs_node
@pytest.mark.parametrize("size", SIZES)
def test_the_browser_s_pixels_are_opencv_s(size: int, tmp_path: Path) -> None:
    random = np.random.default_rng(size)
    images = [random.integers(0, 256, (*shape, 3), np.uint8) for shape in SHRINKING + GROWING]
    found = resize_in_node(images, size, tmp_path)
    for image, result in zip(images, found, strict=True):
        expected = resize(image, size)
        if min(image.shape[:2]) >= size:
            assert (result == expected).all(), image.shape
        else:
            assert np.abs(result.astype(int) - expected).max() <= 1, image.shape


def content(name: str) -> bytes:
    packed = STATIC / f"{name}.gz"
    return gzip.decompress(packed.read_bytes()) if packed.exists() else (STATIC / name).read_bytes()


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_runtime_is_the_published_one(name: str) -> None:
    assert hashlib.sha256(content(name)).hexdigest() == PUBLISHED[name]
    assert f'RUNTIME = "{ONNXRUNTIME_WEB}"' in (STATIC / "worker.js").read_text()


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("npm") is None, reason="needs npm")
def test_npm_has_the_same_runtime(tmp_path: Path) -> None:
    subprocess.run(["npm", "pack", "--silent", f"onnxruntime-web@{ONNXRUNTIME_WEB}"], cwd=tmp_path, check=True)
    (archive,) = tmp_path.glob("*.tgz")
    shutil.unpack_archive(archive, tmp_path, "gztar", filter="data")
    for name in PUBLISHED:
        assert content(name) == (tmp_path / "package" / "dist" / name).read_bytes()


def test_pages_name_only_files_that_are_there() -> None:
    """And nothing from other hosts, no script and no style inside of a page: the policy forbids them."""
    for page in STATIC.glob("*.html"):
        text = page.read_text()
        for name in re.findall(r'(?:href|src)="static/([^"]+)"', text):
            assert (STATIC / name).is_file(), name
        assert "http" not in re.sub(r"over plain http|of https", "", text), page
        assert " style=" not in text
        assert not re.search(r"<script(?![^>]* src=)", text)
        assert not re.search(r'\son[a-z]+="', text)
        assert not re.findall(r'(?:href|src)="/', text), "behind a proxy with a prefix, addresses are relative"
