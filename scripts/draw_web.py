"""Draws the images in docs/web.md: the live page with drawn animals, on a desktop and on a phone.

Needs the extras `web` and `test-web`, and a Chromium: python scripts/draw_web.py
"""

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from catsdogs_edge.capture.frames import Frame, State
from catsdogs_edge.images.decode import RgbImage
from catsdogs_edge.images.drawings import draw_soft
from catsdogs_edge.model.bundled import MODEL
from catsdogs_edge.model.classifier import Classifier
from catsdogs_edge.model.info import ModelInfo
from catsdogs_edge.stream.frame_result import FrameResult
from catsdogs_edge.stream.pipeline import FrameClassifier
from catsdogs_edge.web.options import Access
from catsdogs_edge.web.sink import WebSink

_OUT = Path(__file__).resolve().parents[1] / "docs" / "images"
_SEEDS = {"cat": (3, 1, 9, 5), "dog": (3, 2, 8), "room": (3, 4)}
_DAY = ("room", "cat", "room", "dog", "room", "cat", "room", "cat", "room", "dog", "room", "cat", "room", "dog", "room")
_TO_LOAD = 1200  # ms
_GAP = 0.21  # seconds between two images of events


def main() -> None:
    """Writes docs/images/web-*.png."""
    classifier = Classifier.load(MODEL, spinning=False)
    info = ModelInfo.from_classifier(classifier, MODEL)
    with _watched(classifier, info) as sink, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for name, kind, state, width, height, dark in (
            ("web-live", "cat", State.LIVE, 1440, 1180, False),
            ("web-neither", "room", State.LIVE, 1440, 1180, True),
            ("web-lost", "cat", State.LOST, 1440, 900, False),
            ("web-phone", "dog", State.LIVE, 390, 1320, False),
        ):
            time.sleep(_GAP)
            _show(classifier, sink, kind, state)
            _photograph(browser, sink.url, _OUT / f"{name}.png", width, height, state, dark=dark)
        browser.close()


@contextmanager
def _watched(classifier: Classifier, info: ModelInfo) -> Iterator[WebSink]:
    """Starts the server, and lets it see a day."""
    sink = WebSink(classifier, info, "camera 0", Access(host="127.0.0.1", port=0))
    try:
        now, frames = time.time(), FrameClassifier(classifier, smoothing=0)
        for index, kind in enumerate(_DAY):
            moment = now - 5.8 * 3600 + index * 1400 + 60 * (index % 3)
            sink.write(frames.classify(Frame(number=index, rgb=_image(kind, index), time=moment)))
            if index == 6:
                sink.write(FrameResult(frame=Frame(number=index, rgb=None, time=moment + 500, state=State.LOST), fps=0))
            time.sleep(_GAP)
        yield sink
    finally:
        sink.close()


def _show(classifier: Classifier, sink: WebSink, kind: str, state: State) -> None:
    """Lets the camera see one thing for a while, at its usual rate."""
    frames = FrameClassifier(classifier)
    for number in range(40):
        frame = Frame(number=100 + number, rgb=_image(kind, 0), captured=time.monotonic() - 0.02)
        sink.write(frames.classify(frame))
        time.sleep(0.03)
    if state is not State.LIVE:
        error = "no frame for 12 s: is the camera still plugged in?"
        sink.write(FrameResult(frame=Frame(number=200, rgb=None, state=state, error=error), fps=0))


def _image(kind: str, index: int) -> RgbImage:
    seeds = _SEEDS[kind]
    return draw_soft(kind, seeds[index % len(seeds)], 480)


def _photograph(browser: Browser, url: str, path: Path, width: int, height: int, state: State, *, dark: bool) -> None:
    context = browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme="dark" if dark else "light",
        locale="en-GB",
        has_touch=width < 500,
        is_mobile=width < 500,
    )
    page = context.new_page()
    page.goto(url)
    page.wait_for_selector(f"#state[data-state={state.value}]")
    page.wait_for_selector("#events li")
    page.wait_for_timeout(_TO_LOAD)  # the page forbids `eval`, by which Playwright would wait for images
    page.screenshot(path=str(path))
    context.close()


if __name__ == "__main__":
    main()
