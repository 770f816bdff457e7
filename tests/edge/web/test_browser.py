"""The pages in a real browser: Debian's Chromium, driven by Playwright."""

import base64
import importlib.util
import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from catsdogs_edge.collection.review import JOURNAL, Review
from catsdogs_edge.images.decode import load_bytes
from catsdogs_edge.images.drawings import draw
from catsdogs_edge.model.bundled import MODEL
from catsdogs_edge.model.classifier import Classifier
from catsdogs_edge.model.prediction import percent
from catsdogs_edge.web.app import make_context
from catsdogs_edge.web.options import Access
from catsdogs_edge.web.server import WebServer
from tests.edge.collection.test_review import collect
from tests.edge.conftest import encode
from tests.edge.web.conftest import LOCAL, FakeCamera, open_camera, open_server, wait_until
from tests.edge.web.proxies import Proxy

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Page

CHROMIUM = shutil.which("chromium")
CAMERA_LOST_MS = LIVE_MS = 2000
TOKEN = "a token"  # noqa: S105 - of these tests

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (on Debian: apt install chromium)"),
    pytest.mark.skipif(importlib.util.find_spec("playwright") is None, reason="needs Playwright (extra test-web)"),
]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[Browser]":
    """Chromium with a camera that shows a drawn cat, and one more name for this machine."""
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - it may be missing

    video = tmp_path_factory.mktemp("camera") / "cat.mjpeg"
    cat = np.asarray(draw("cat", 1, 480), np.uint8)
    video.write_bytes(encode(cat, ".jpg") * 10)
    arguments = [
        "--no-sandbox",
        "--use-fake-ui-for-media-stream",
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-video-capture={video}",
        "--host-resolver-rules=MAP box.test 127.0.0.1",
    ]
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield started
        started.close()


@pytest.fixture
def page(browser: "Browser") -> "Iterator[Page]":
    """A page of its own; a mistake in a script fails the test."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    opened = context.new_page()
    mistakes: list[str] = []
    opened.on("pageerror", lambda error: mistakes.append(str(error)))

    def hear(message: "ConsoleMessage") -> None:
        if "Content Security Policy" in message.text:
            mistakes.append(message.text)

    opened.on("console", hear)
    yield opened
    context.close()
    assert mistakes == []


def expect_text(page: "Page", selector: str, text: str, milliseconds: float = 10_000) -> None:
    from playwright.sync_api import expect  # noqa: PLC0415 - it may be missing

    expect(page.locator(selector)).to_have_text(text, timeout=milliseconds)


def test_it_shows_what_the_camera_sees(camera: FakeCamera, page: "Page") -> None:
    camera.run(15)
    page.goto(camera.url)
    expect_text(page, "#state", "live", LIVE_MS)
    expect_text(page, "#label", "cat", LIVE_MS)
    newest = camera.hub.newest
    assert newest is not None
    assert newest.result.smoothed is not None
    assert page.inner_text("#probability") == percent(newest.result.smoothed.probability).strip().replace("%", " %")
    middle = "() => [...document.getElementById('image').getContext('2d').getImageData(80, 60, 1, 1).data]"
    colour = page.evaluate(middle)
    assert np.abs(np.array(colour[:3]) - (220, 30, 40)).max() < 16
    camera.label = "dog"
    expect_text(page, "#label", "dog", 1000)
    expect_text(page, "#spoken", "dog", 1000)
    camera.label = "neither"
    expect_text(page, "#label", "neither", 1000)
    assert page.is_visible("#if")
    page.locator("#events li").nth(1).wait_for()
    page.locator("#timeline rect").first.wait_for(state="attached")


def test_a_lost_camera_is_said_on_its_last_image(camera: FakeCamera, page: "Page") -> None:
    camera.show("cat")
    camera.lose()
    page.goto(camera.url)
    expect_text(page, "#state", "camera lost", CAMERA_LOST_MS)
    expect_text(page, "#veil-text", "the cable is out")
    wait_until(lambda: page.evaluate("() => document.getElementById('image').width") == 160)
    camera.show("dog")
    expect_text(page, "#label", "dog", LIVE_MS)
    assert not page.is_visible("#veil")


def test_nine_tabs_are_all_live(camera: FakeCamera, browser: "Browser") -> None:
    camera.run(10)
    context = browser.new_context()
    pages = [context.new_page() for _ in range(9)]
    for each in pages:
        each.goto(camera.url)
        each.evaluate("() => Object.defineProperty(document, 'hidden', { value: false })")
    for each in pages:
        expect_text(each, "#label", "cat")
    context.close()


def test_a_hidden_tab_asks_for_nothing(camera: FakeCamera, page: "Page") -> None:
    camera.run(10)
    page.goto(camera.url)
    expect_text(page, "#label", "cat")
    hide = "(hidden) => { Object.defineProperty(document, 'hidden', { value: hidden, configurable: true });"
    page.evaluate(hide + " document.dispatchEvent(new Event('visibilitychange')); }", True)
    wait_until(lambda: camera.hub.viewers == 0)
    time.sleep(0.5)  # a frame may be on its way to the encoder
    before = camera.hub.encodes
    time.sleep(1)
    assert camera.hub.encodes == before
    page.evaluate(hide + " document.dispatchEvent(new Event('visibilitychange')); }", False)
    wait_until(lambda: camera.hub.encodes > before)


def test_a_server_that_was_away_is_found_again_behind_a_prefix(
    classifier: Classifier, familiar: Path, page: "Page"
) -> None:
    with Proxy("http://127.0.0.1:9/", prefix="/yard/cats") as proxy:
        with open_camera(classifier, familiar) as camera:
            proxy.target = camera.url
            for _ in range(30):
                camera.show("cat")
            camera.run(10)
            page.goto(proxy.url)
            expect_text(page, "#label", "cat")
        expect_text(page, "#state", "no connection")
        with open_camera(classifier, familiar) as camera:
            proxy.target = camera.url
            camera.label = "dog"
            camera.run(10)
            expect_text(page, "#label", "dog")
            page.locator("#events img").first.wait_for()


def test_keys_and_buttons_do_what_they_say(camera: FakeCamera, page: "Page") -> None:
    camera.run(10)
    page.goto(camera.url)
    expect_text(page, "#label", "cat")
    page.keyboard.press("s")
    expect_text(page, "#said", "Kept among the events.")
    assert [event.kind for event in camera.history.events()][-1] == "snapshot"
    page.keyboard.press("m")
    assert page.get_attribute("#mirror", "aria-pressed") == "true"
    page.click("[data-hours='24']")
    assert page.get_attribute("[data-hours='24']", "aria-pressed") == "true"
    page.locator("#events button").first.click()
    assert page.is_visible("#viewer-image")
    page.keyboard.press("Escape")
    assert not page.is_visible("#viewer-image")


@pytest.mark.parametrize("width", [390, 1440])
def test_nothing_is_wider_than_the_screen(width: int, camera: FakeCamera, browser: "Browser") -> None:
    for label in ("cat", "dog", "cat"):
        camera.show(label)
        time.sleep(0.21)
    page = browser.new_page(viewport={"width": width, "height": 800})
    for path in ("", "here"):
        page.goto(camera.url + path)
        page.wait_for_timeout(300)
        assert page.evaluate("() => document.documentElement.scrollWidth") <= width
    small = """() => [...document.querySelectorAll("button")]
        .filter((each) => each.offsetParent)
        .map((each) => each.getBoundingClientRect())
        .filter(({ width, height }) => Math.min(width, height) < 36).length"""
    assert page.evaluate(small) == 0
    page.close()


def test_a_token_in_the_fragment_or_the_dialog_opens_the_page(
    classifier: Classifier, familiar: Path, browser: "Browser"
) -> None:
    with open_camera(classifier, familiar, Access(host="127.0.0.1", port=0, token=TOKEN)) as camera:
        camera.run(10)
        page = browser.new_page()
        page.goto(camera.url + "#token=a%20token")
        expect_text(page, "#label", "cat")
        assert page.evaluate("() => location.hash + document.cookie") == ""
        page.close()
        page = browser.new_page()
        page.goto(camera.url)
        page.fill("#token", "wrong")
        page.click("#login-form button")
        expect_text(page, "#login-wrong", "This is not the token.")
        page.fill("#token", TOKEN)
        page.click("#login-form button")
        expect_text(page, "#label", "cat")
        page.close()


def load_model(page: "Page", url: str) -> None:
    page.goto(url)
    page.click("#load")
    page.wait_for_selector("#step-test[data-is=done], #step-test[data-is=failed], #problem:not(:empty)", timeout=90_000)
    assert page.inner_text("#problem") == ""


@pytest.fixture(scope="module")
def packaged() -> Classifier:
    """The model in the package, which carries its own test."""
    return Classifier.load(MODEL, threads=1)


def test_the_same_model_answers_the_same_in_the_browser(
    packaged: Classifier, browser: "Browser", tmp_path: Path
) -> None:
    """Drawings and, where they are there, photographs; the pixels are the box's, the kernels are not."""
    files = []
    for seed in range(6):
        kind = ("cat", "dog", "room")[seed % 3]
        image = np.asarray(draw(kind, seed, (300, 640, 180)[seed // 2]), np.uint8)
        files.append(tmp_path / f"{kind}-{seed}.{'png' if seed % 2 else 'jpg'}")
        files[-1].write_bytes(encode(image, files[-1].suffix))
    photographs = Path(__file__).resolve().parents[4] / "shared" / "data" / "inbox"
    if photographs.is_dir():
        files += sorted(photographs.glob("*.jpg"))[:50]
    with open_server(packaged, MODEL) as client:
        page = browser.new_page()
        load_model(page, f"{client.base_url}here")
        assert page.get_attribute("#step-test", "data-is") == "done", page.inner_text("#steps")
        ask = """async (files) => {
            const worker = new Worker("static/worker.js", { type: "module" });
            const next = () => new Promise((resolve) => {
                worker.addEventListener("message", ({ data }) => resolve(data), { once: true });
            });
            const model = await (await fetch("api/v1/model")).json();
            worker.postMessage({ load: { base: document.baseURI, model } });
            for (let said = {}; said.step !== "test" || said.is === "busy"; ) said = await next();
            const rows = [];
            for (const file of files) {
                const bytes = Uint8Array.from(atob(file), (sign) => sign.charCodeAt(0));
                worker.postMessage({ id: rows.length, file: new Blob([bytes]) });
                rows.push((await next()).row);
            }
            worker.terminate();
            return rows;
        }"""
        found = page.evaluate(ask, [_base64(file) for file in files])
        page.close()
    tolerance = json.loads(packaged.metadata["catsdogs.selftest"])["tolerance"]
    for file, row in zip(files, found, strict=True):
        outputs = packaged.predict(load_bytes(file.read_bytes(), packaged.contract.image_size)[np.newaxis])
        (expected,) = packaged.decide(outputs)
        assert expected.familiarity is not None
        assert row["label"] == expected.label, file.name
        assert np.abs(row["logits"] - outputs.logits[0]).max() <= tolerance, file.name
        assert abs(row["familiarity"] - expected.familiarity) <= 0.05, file.name
        assert row["probabilities"] == pytest.approx(expected.probabilities, abs=0.03), file.name


def _base64(file: Path) -> str:
    return base64.b64encode(file.read_bytes()).decode()


def test_the_first_visit_is_small_the_second_is_nothing_and_none_needs_a_network(
    packaged: Classifier, browser: "Browser"
) -> None:
    with open_server(packaged, MODEL) as client, Proxy(str(client.base_url)) as proxy:
        context = browser.new_context()
        page = context.new_page()
        load_model(page, f"{proxy.url}here")
        assert proxy.received < 23.5e6
        assert page.inner_text("#state") == "ready, self-test passed"
        page.wait_for_timeout(1000)  # what is kept is written after it was given out
        page.close()
        proxy.received, target = 0, proxy.target
        proxy.target = "http://127.0.0.1:9/"
        page.close()
        page = context.new_page()
        load_model(page, f"{proxy.url}here")
        assert page.inner_text("#state") == "ready, self-test passed"
        page.set_input_files("#files", {"name": "x.png", "mimeType": "image/png", "buffer": encode(draw("cat", 1))})
        page.wait_for_selector(".result .bars")
        page.close()
        proxy.received, proxy.target = 0, target
        page = context.new_page()
        load_model(page, f"{proxy.url}here")
        assert proxy.received < 200_000  # pages and scripts are looked up again; neither model nor runtime are
        context.close()


def test_the_device_s_camera_is_classified_beside_the_page(packaged: Classifier, browser: "Browser") -> None:
    """In a worker, so that the page never waits."""
    with open_server(packaged, MODEL) as client:
        page = browser.new_page()
        load_model(page, f"{client.base_url}here")
        page.click("#start")
        page.wait_for_selector("#caption:not([hidden])", timeout=20_000)
        page.wait_for_timeout(3000)
        assert "fps" in page.inner_text("#rate")
        label = page.inner_text("#caption").split()[0]
        assert label in {"cat", "neither"}, label
        loaded = "() => performance.getEntriesByType('resource').map((entry) => entry.name).join()"
        assert any("ort.wasm.bundle" in worker.evaluate(loaded) for worker in page.workers)
        assert "ort.wasm.bundle" not in page.evaluate(loaded)
        page.click("#stop")
        assert not page.is_visible("#live")
        page.close()


def test_over_plain_http_the_page_says_why_there_is_no_camera(packaged: Classifier, browser: "Browser") -> None:
    access = Access(host="127.0.0.1", port=0, hosts=frozenset({"box.test"}))
    with open_server(packaged, MODEL, access) as client:
        page = browser.new_page()
        load_model(page, f"http://box.test:{client.base_url.port}/here")
        assert page.inner_text("#step-runtime").endswith("1 thread")
        assert "this one came over plain http" in page.inner_text("#camera-hint")
        assert not page.is_visible("#start")
        page.set_input_files("#files", {"name": "x.png", "mimeType": "image/png", "buffer": encode(draw("cat", 1))})
        page.wait_for_selector(".result .bars")
        page.close()


@pytest.fixture
def reviewed(tmp_path: Path, familiar: Path) -> Iterator[tuple[str, Path]]:
    """Address of the page that labels eight images in two bursts, and their folder."""
    collect(tmp_path, 5)
    collect(tmp_path, 3, first=12)
    review = Review(tmp_path, ("cat", "dog"), tmp_path / "labelled")
    server = WebServer(make_context(Classifier.load(familiar), familiar, LOCAL, None, review))
    yield server.url, tmp_path
    server.close()
    review.close()


def test_images_are_labelled_by_keys_and_confirmed(page: "Page", reviewed: tuple[str, Path]) -> None:
    url, folder = reviewed
    page.goto(url)
    expect_text(page, "#count", "0 of 8")
    for key in ("2", "n", "x"):  # the newest burst first
        page.keyboard.press(key)
    expect_text(page, "#count", "3 of 8")
    page.keyboard.press("b")  # the whole of the other one
    page.keyboard.press("1")
    expect_text(page, "#count", "8 of 8")
    page.keyboard.press("z")
    expect_text(page, "#count", "3 of 8")
    page.keyboard.press("Enter")  # the model says cat
    expect_text(page, "#count", "8 of 8")
    page.keyboard.press("z")
    page.keyboard.press("b")
    page.keyboard.press("Enter")
    expect_text(page, "#count", "4 of 8")
    wait_until(lambda: len((folder / JOURNAL).read_text().splitlines()) == 24)  # all of it is on the disk
    page.reload()
    expect_text(page, "#count", "4 of 8")
    assert not (folder / "labelled").exists()
    page.click("#confirm")
    expect_text(page, "#sure-list", "1 dog1 neither1 delete1 cat")
    page.click("#sure-yes")
    wait_until((folder / "labelled" / "other").is_dir)
    expect_text(page, "#count", "0 of 4")
    assert len(list((folder / "labelled" / "classes" / "dog").iterdir())) == 1
    assert len(list((folder / "labelled" / "classes" / "cat").iterdir())) == 1


def test_why_is_shown_for_the_image_that_is_chosen(page: "Page", reviewed: tuple[str, Path]) -> None:
    page.goto(reviewed[0])
    page.wait_for_selector(".tile")
    page.keyboard.press("w")
    page.wait_for_selector(".tile[aria-pressed='true'] img[src*='/map?']")
    page.keyboard.press("ArrowRight")
    assert page.locator("img[src*='/map?']").count() == 1
    wait_until(lambda: page.evaluate("[...document.images].every((image) => image.complete && image.naturalWidth)"))


def test_a_phone_has_no_keys_and_everything_in_reach(browser: "Browser", reviewed: tuple[str, Path]) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    page = context.new_page()
    page.goto(reviewed[0])
    page.tap(".tile >> nth=1")
    page.tap("#labels button >> nth=1")
    expect_text(page, "#count", "1 of 8")
    page.tap("#agree")
    expect_text(page, "#count", "2 of 8")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    every = "[...document.querySelectorAll('.dock button')]"
    sizes = page.evaluate(f"{every}.map((button) => button.getBoundingClientRect().height)")
    assert min(sizes) >= 44
    context.close()


def test_on_a_phone_twelve_classes_hide_no_image(browser: "Browser", tmp_path: Path, familiar: Path) -> None:
    collect(tmp_path, 9)
    classes = (*(f"Kind_{number}" for number in range(11)), "a_kind_with_a_name_" + 4 * "that_is_very_long_")
    review = Review(tmp_path, classes, tmp_path / "labelled")
    server = WebServer(make_context(Classifier.load(familiar), familiar, LOCAL, None, review))
    context = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    page = context.new_page()
    page.goto(server.url)
    page.wait_for_selector(".tile")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.evaluate("window.scrollTo(0, document.body.scrollHeight)")
    last, dock = ({} | (page.locator(name).last.bounding_box() or {}) for name in (".tile", "#dock"))
    assert last["y"] + last["height"] <= dock["y"]
    page.tap("#labels button >> nth=11")  # the list of labels scrolls
    expect_text(page, "#count", "1 of 9")
    marks = "[...document.querySelectorAll('.label i')].map((mark) => getComputedStyle(mark).backgroundColor)"
    assert len(set(page.evaluate(marks)[:12])) == 12
    context.close()
    server.close()
    review.close()
