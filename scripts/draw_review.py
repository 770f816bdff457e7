"""Draws the images in docs/improve.md and docs/folders.md: the review page, and a map, of drawn animals.

Needs the extra `web`, Playwright and a Chromium: python scripts/draw_review.py
"""

import shutil
import tempfile
from pathlib import Path

import cv2
from playwright.sync_api import Browser, sync_playwright

from catsdogs_edge.capture.frames import Frame
from catsdogs_edge.classify.maps import MapFolder
from catsdogs_edge.collection.collector import Collector
from catsdogs_edge.collection.review import Review
from catsdogs_edge.images.decode import RgbImage
from catsdogs_edge.images.drawings import draw_soft
from catsdogs_edge.model.bundled import MODEL
from catsdogs_edge.model.classifier import Classifier
from catsdogs_edge.model.info import ModelInfo
from catsdogs_edge.output.quota import Quota
from catsdogs_edge.stream.pipeline import FrameClassifier
from catsdogs_edge.web.app import make_context
from catsdogs_edge.web.options import Access
from catsdogs_edge.web.server import WebServer

_OUT = Path(__file__).resolve().parents[1] / "docs" / "images"
_MORNING = 1_795_764_600.0  # seconds since 1970
_DAY = ("room", "cat", "cat", "room", "dog", "dog", "room", "cat", "room", "dog", "cat", "room")
_TO_LOAD = 1200  # ms


def main() -> None:
    """Writes docs/images/review.png, docs/images/review-phone.png and docs/images/map.jpg."""
    classifier = Classifier.load(MODEL, spinning=False)
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        folder = Path(name)
        _collect(classifier, folder)
        review = Review(folder, classifier.contract.classes, folder / "labelled")
        server = WebServer(make_context(classifier, MODEL, Access(host="127.0.0.1", port=0), None, review))
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        _photograph(browser, server.url, _OUT / "review.png", 1440, 940, ("1", "n", "2", "Enter", "u", "w"))
        _photograph(browser, server.url, _OUT / "review-phone.png", 390, 844, ())
        browser.close()
        server.close()
        review.close()
        _, data = cv2.imencode(".png", cv2.cvtColor(_image("cat", 3), cv2.COLOR_RGB2BGR))
        maps = MapFolder(folder / "maps")
        maps.write("map.png", data.tobytes(), classifier.classify(data.tobytes(), maps=True))
        shutil.copy(folder / "maps" / "map.jpg", _OUT / "map.jpg")


def _collect(classifier: Classifier, folder: Path) -> None:
    """Lets a camera see a morning."""
    collector = Collector(
        Quota(folder, None), ModelInfo.from_classifier(classifier, MODEL), lambda: classifier.threshold, 1
    )
    frames = FrameClassifier(classifier, smoothing=0)
    for number, kind in enumerate(_DAY):
        moment = 8.0 * number + 600 * (number // 7)
        frame = Frame(number=number, rgb=_image(kind, number), time=_MORNING + moment, captured=moment)
        collector.write(frames.classify(frame))
    collector.close()


def _image(kind: str, seed: int) -> RgbImage:
    return draw_soft(kind, seed, 480)


def _photograph(browser: Browser, url: str, path: Path, width: int, height: int, keys: tuple[str, ...]) -> None:
    context = browser.new_context(
        viewport={"width": width, "height": height}, locale="en-GB", has_touch=width < 500, is_mobile=width < 500
    )
    page = context.new_page()
    page.goto(url)
    page.wait_for_selector(".tile")
    for key in keys:
        page.keyboard.press(key)
    page.wait_for_timeout(_TO_LOAD)
    page.screenshot(path=str(path))
    context.close()


if __name__ == "__main__":
    main()
