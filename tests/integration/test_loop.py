"""The whole loop, on drawings.

A camera errs, its images are collected, labelled in a browser, and learned; the model changes while the camera runs,
and is right from then on. A round with wrong labels changes nothing.
"""

import importlib.util
import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import cv2
import numpy as np
import pytest

from catsdogs_edge.images.decode import RgbImage
from catsdogs_edge.images.drawings import draw, write_folder
from catsdogs_export.cli import _export_app as _export
from catsdogs_train.cli import _app as _train
from tests.conftest import call_here, work_here
from tests.processes import started

CHROMIUM = shutil.which("chromium")
WIDTH, HEIGHT, RATE = 320, 240, 5
PATIENCE = 120  # seconds: one core trains, runs a camera and a browser
QUICK = ["--batch-size", "8", "--epochs", "80"]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (on Debian: apt install chromium)"),
    pytest.mark.skipif(importlib.util.find_spec("playwright") is None, reason="needs Playwright (extra test-web)"),
    pytest.mark.skipif(sys.platform != "linux", reason="runs once"),
]


def new_cat(seed: int) -> RgbImage:
    """A kind of cat that nobody has seen: a drawn one with all colours turned round."""
    image = cv2.resize(np.asarray(255 - draw("cat", seed, HEIGHT), np.uint8), (WIDTH, HEIGHT))
    return np.asarray(image, np.uint8)


class Yard:
    """A camera: shows one image after the other to `catsdogs-cam`, each for a second, over and over."""

    def __init__(self, command: list[str | Path], rows: Path) -> None:
        self.rows = rows
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=False)
        self.images = [new_cat(1000)]
        self._ended = threading.Event()
        self._said: list[bytes] = []
        assert self._process.stdin
        assert self._process.stderr
        threading.Thread(target=self._show, args=(self._process.stdin,), daemon=True).start()
        threading.Thread(target=self._said.extend, args=(self._process.stderr,), daemon=True).start()

    def _show(self, camera: IO[bytes]) -> None:
        number = 0
        while not self._ended.is_set():
            images = self.images
            camera.write(images[number // RATE % len(images)].tobytes())
            camera.flush()
            number += 1
            time.sleep(1 / RATE)
        camera.close()

    def newest(self, count: int) -> list[dict[str, Any]]:
        """Waits for so many rows from now on."""
        start = len(self._read())
        end = time.monotonic() + PATIENCE
        while len(rows := self._read()) < start + count:
            assert time.monotonic() < end, b"".join(self._said).decode()
            time.sleep(0.1)
        return rows[start:]

    def _read(self) -> list[dict[str, Any]]:
        text = self.rows.read_text() if self.rows.exists() else ""
        return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]

    def end(self) -> None:
        self._ended.set()
        try:
            self._process.wait(60)
        finally:
            self._process.kill()
        assert self._process.returncode == 0, b"".join(self._said).decode()


@pytest.fixture
def yard(tmp_path: Path, scripts: Path, run: Path) -> Iterator[Yard]:
    """The camera, with the first model in a place of its own."""
    place, rows = tmp_path / "box" / "model.onnx", tmp_path / "rows.jsonl"
    work(scripts / "catsdogs-model", "install", place, run / "onnx" / "model.onnx")
    command: list[str | Path] = [scripts / "catsdogs-cam", "-", "--raw", f"{WIDTH}x{HEIGHT}", "--no-window"]
    command += ["--model", place, "--jsonl", rows, "--collect", tmp_path / "collected"]
    opened = Yard(command, rows)
    yield opened
    opened.end()


def work(*command: str | Path) -> subprocess.CompletedProcess[str]:
    """Runs a command that must do its work."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture
def run(tmp_path: Path, small_weights: Path) -> Path:
    """A run that knows drawn cats and dogs, and rooms as what is neither; exported."""
    write_folder(tmp_path / "old", per_class=40)
    write_folder(tmp_path / "rooms", per_class=40, first_seed=300, kinds=["room"])
    out = tmp_path / "run"
    small: list[str | Path] = ["--weights", small_weights, "--image-size", "96", *QUICK]
    work_here(_train, "catsdogs-train", tmp_path / "old", *small, "--other", tmp_path / "rooms", "--out", out)
    work_here(_export, "catsdogs-export", out)
    return out


def review_all(scripts: Path, collected: Path, key: str) -> None:
    """Labels all images with one key, burst after burst, and confirms it: in a browser."""
    from playwright.sync_api import expect, sync_playwright  # noqa: PLC0415 - it may be missing

    with (
        started(scripts / "catsdogs-review", collected, "127.0.0.1:0") as (_, url),
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page()
        page.set_default_timeout(1000 * PATIENCE)
        page.goto(url)
        page.wait_for_selector(".tile")
        page.keyboard.press("b")
        for _ in range(page.locator(".burst").count()):
            page.keyboard.press(key)
        count = page.locator(".tile").count()
        expect(page.locator("#count")).to_have_text(f"{count} of {count}", timeout=1000 * PATIENCE)
        page.click("#confirm")
        page.click("#sure-yes")
        expect(page.locator("#spoken")).to_contain_text("moved: ", timeout=1000 * PATIENCE)  # more may be there
        browser.close()


def share(rows: list[dict[str, Any]], label: str) -> float:
    return float(np.mean([row["label"] == label for row in rows]))


def test_from_a_camera_that_errs_to_a_better_model(yard: Yard, run: Path, scripts: Path, tmp_path: Path) -> None:
    yard.images = [new_cat(seed) for seed in range(1000, 1100)]
    before = yard.newest(5 * RATE)
    assert share(before, "cat") < 0.2
    (first,) = {row["model"] for row in before}
    collected = tmp_path / "collected"
    end = time.monotonic() + PATIENCE
    while len(list(collected.glob("*.jpg"))) < 9:
        assert time.monotonic() < end, len(list(collected.glob("*.jpg")))
        time.sleep(1)

    review_all(scripts, collected, "1")  # a cat, all of them
    new = collected / "labelled" / "classes"
    assert len(list((new / "cat").iterdir())) >= 9
    learn: list[str | Path] = ["--from", run, *QUICK]
    work_here(_train, "catsdogs-train", *learn, new, "--out", tmp_path / "better")
    place = tmp_path / "box" / "model.onnx"
    work_here(_export, "catsdogs-export", tmp_path / "better", "--not-worse-than", place)
    report = json.loads((tmp_path / "better" / "onnx" / "parity.json").read_text())["not_worse"]["fp32"]
    assert [(item["source"], item["broken"]) for item in report] == [("the earlier run", 0), (str(new), 0)]
    assert report[1]["fixed"] > 0

    work(scripts / "catsdogs-model", "install", place, tmp_path / "better" / "onnx" / "model.onnx")
    yard.images = [new_cat(seed) for seed in range(2000, 2010)]  # others of that kind
    end = time.monotonic() + PATIENCE
    while {row["model"] for row in yard.newest(RATE)} == {first}:
        assert time.monotonic() < end
    assert share(yard.newest(3 * RATE), "cat") > 0.9

    for label, other in (("cat", "dog"), ("dog", "cat")):  # a round with labels the wrong way round
        write_folder(tmp_path / "drawn", per_class=25, first_seed=3000)
        shutil.copytree(tmp_path / "drawn" / label, tmp_path / "poison" / other)
    work_here(_train, "catsdogs-train", *learn, tmp_path / "poison", "--out", tmp_path / "worse")
    refused = call_here(_export, "catsdogs-export", tmp_path / "worse", "--not-worse-than", place)
    assert refused.returncode == 1
    assert "Nothing is published" in refused.stderr
    assert not (tmp_path / "worse" / "onnx").exists()

    work(scripts / "catsdogs-model", "rollback", place)
    end = time.monotonic() + PATIENCE
    while {row["model"] for row in yard.newest(RATE)} != {first}:
        assert time.monotonic() < end
