import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from catsdogs_edge.capture.frames import Frame
from catsdogs_edge.collection.collector import Collector
from catsdogs_edge.collection.folder import find_collected
from catsdogs_edge.errors import OutputError
from catsdogs_edge.images.decode import RgbImage, read
from catsdogs_edge.model.classifier import Classifier
from catsdogs_edge.model.info import ModelInfo
from catsdogs_edge.output.quota import Limit, Quota
from catsdogs_edge.stream.pipeline import FrameClassifier
from catsdogs_edge.stream.regions import Region
from tests.edge.conftest import BLUE, GREY, RED, plain
from tests.edge.stream.test_motion import room

DOUBTFUL = (110, 90, 30)  # familiarity near the threshold
ROOM = 10**9  # bytes


@pytest.fixture
def classifier(familiar: Path) -> Classifier:
    return Classifier.load(familiar)


def open_collector(folder: Path, familiar: Path, size: int = ROOM, seed: int = 0) -> Collector:
    folder.mkdir(exist_ok=True)
    classifier = Classifier.load(familiar)
    info = ModelInfo.from_classifier(classifier, familiar)
    return Collector(Quota(folder, Limit(bytes=size)), info, lambda: classifier.threshold, seed)


def scene(colour: tuple[int, int, int], number: int = 0) -> RgbImage:
    """A plain frame with a mark in another place each time, so that no two are near copies."""
    image = plain(colour, 240, 320)
    top, left = divmod(number, 6)
    image[40 * (top % 6) : 40 * (top % 6) + 40, 53 * left : 53 * left + 53] = 0
    return image


def reasons(folder: Path) -> list[str]:
    return [item.row["reason"] for item in find_collected(folder)]


def watch(
    collector: Collector, frames: FrameClassifier, images: list[RgbImage], start: float = 0.0, gap: float = 1.0
) -> float:
    for number, image in enumerate(images):
        moment = start + number * gap
        assert collector.write(
            frames.classify(Frame(number=round(moment * 10), rgb=image, position=moment, time=1e9 + moment))
        )
    return start + len(images) * gap


def test_the_first_of_a_visit_is_kept_with_its_row(classifier: Classifier, familiar: Path, tmp_path: Path) -> None:
    collector, frames = open_collector(tmp_path, familiar), FrameClassifier(classifier, smoothing=0)
    now = watch(collector, frames, [scene(GREY)] * 5)
    watch(collector, frames, [scene(RED)] * 5, now)
    collector.close()
    first, item = find_collected(tmp_path)
    assert first.row["reason"] == "new"  # there was nothing like it
    assert item.row["reason"] == "visit"
    assert (item.row["label"], item.row["smoothed_label"]) == ("cat", "cat")
    assert item.row["probabilities"].keys() == {"cat", "dog"}
    assert len(item.row["model"]) == 64
    assert item.time == pytest.approx(1e9 + 5)
    assert np.abs(read(item.path).astype(int) - scene(RED)).mean() < 4  # nothing is drawn on it


def test_what_is_doubtful_is_kept_once_in_a_while(classifier: Classifier, familiar: Path, tmp_path: Path) -> None:
    doubt = classifier.classify(plain(DOUBTFUL)).familiarity
    assert doubt is not None
    assert abs(doubt - 0.5) < 0.2
    collector, frames = open_collector(tmp_path, familiar), FrameClassifier(classifier, smoothing=0)
    watch(collector, frames, [scene(DOUBTFUL, n) for n in range(30)], gap=0.2)  # six seconds
    assert 2 <= reasons(tmp_path).count("familiarity") <= 5


def test_a_label_against_the_smoothed_one_is_kept(classifier: Classifier, familiar: Path, tmp_path: Path) -> None:
    collector, frames = open_collector(tmp_path, familiar), FrameClassifier(classifier, smoothing=5)
    now = watch(collector, frames, [scene(RED)] * 5)
    watch(collector, frames, [scene(BLUE, 9)], now)
    assert reasons(tmp_path) == ["visit", "wavering"]


def test_what_is_unlike_all_before_is_kept_though_the_model_is_sure(
    classifier: Classifier, familiar: Path, tmp_path: Path
) -> None:
    collector, frames = open_collector(tmp_path, familiar), FrameClassifier(classifier, smoothing=0)
    now = watch(collector, frames, [scene(GREY)] * 20)
    now = watch(collector, frames, [scene(GREY, 14)] * 3, now)  # for three seconds
    watch(collector, frames, [scene(GREY)] * 20, now)
    assert reasons(tmp_path) == ["new", "new"]


def test_some_are_kept_by_lot(classifier: Classifier, familiar: Path, tmp_path: Path) -> None:
    collector, frames = open_collector(tmp_path, familiar), FrameClassifier(classifier, smoothing=0)
    watch(collector, frames, [scene(GREY, n) for n in range(30)], gap=300)  # 2.5 hours
    assert 5 <= reasons(tmp_path).count("lot") <= 16


def test_a_still_scene_of_1000_frames_is_few_images(classifier: Classifier, familiar: Path, tmp_path: Path) -> None:
    collector, frames = open_collector(tmp_path, familiar), FrameClassifier(classifier, smoothing=0)
    base = plain(DOUBTFUL, 240, 320).astype(int)
    noise = np.random.default_rng(0)
    images = [np.clip(base + noise.normal(0, 6, base.shape), 0, 255).astype(np.uint8) for _ in range(20)]
    watch(collector, frames, images * 50, gap=3)
    assert 1 <= len(list(tmp_path.glob("*.jpg"))) <= 5


def test_after_a_restart_near_copies_are_still_left_out(classifier: Classifier, familiar: Path, tmp_path: Path) -> None:
    for _ in range(3):
        collector = open_collector(tmp_path, familiar)
        watch(collector, FrameClassifier(classifier, smoothing=0), [room() // 3 + scene(RED, 3) // 2 for _ in range(3)])
        collector.close()
    assert len(list(tmp_path.glob("*.jpg"))) == 1


def test_of_a_region_its_part_of_the_frame(classifier: Classifier, familiar: Path, tmp_path: Path) -> None:
    collector = open_collector(tmp_path, familiar)
    image = plain(GREY, 200, 300)
    image[:, 150:] = RED
    regions = Region.parse_all(["left=0,0,150,200", "right=150,0,150,200"])
    watch(collector, FrameClassifier(classifier, smoothing=0, regions=regions), [image])
    items = {item.place: item for item in find_collected(tmp_path)}
    assert {place: item.row["reason"] for place, item in items.items()} == {("", "left"): "new", ("", "right"): "visit"}
    assert read(items["", "right"].path).shape == (200, 150, 3)


def test_the_quota_holds_and_image_and_row_go_together(classifier: Classifier, familiar: Path, tmp_path: Path) -> None:
    collector, frames = open_collector(tmp_path, familiar, size=5_000_000), FrameClassifier(classifier, smoothing=0)
    random = np.random.default_rng(0)
    for number in range(60):
        noise = random.integers(0, 2, (24, 32, 3), np.uint8).repeat(30, 0).repeat(30, 1) * 80
        image = noise + random.integers(0, 60, noise.shape, np.uint8) + plain((90, 20, 20), 720, 960)
        watch(collector, frames, [plain(GREY), np.asarray(image, np.uint8)], 4.0 * number)
        total = sum(path.stat().st_size for path in tmp_path.iterdir())
        assert total <= 5_000_000
    images, rows = ({path.stem for path in tmp_path.glob(ending)} for ending in ("*.jpg", "*.json"))
    assert images == rows
    assert 1 <= len(images) < 60


def test_what_is_too_old_goes_also_where_nothing_new_comes(
    classifier: Classifier, familiar: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("catsdogs_edge.output.quota._SECONDS_BETWEEN_LOOKS", 0.0)
    info = ModelInfo.from_classifier(classifier, familiar)
    collector = Collector(Quota(tmp_path, Limit(days=14)), info, lambda: classifier.threshold, 0)
    old = tmp_path / "20260101-000000-cat-1.jpg"
    old.touch()
    os.utime(old, (time.time() - 30 * 86_400,) * 2)
    watch(collector, FrameClassifier(classifier, smoothing=0), [plain(GREY)])
    assert not old.exists()


def test_a_folder_that_cannot_be_written_is_an_error(classifier: Classifier, familiar: Path, tmp_path: Path) -> None:
    collector = open_collector(tmp_path / "gone", familiar)
    (tmp_path / "gone").rmdir()
    with pytest.raises(OutputError):
        watch(collector, FrameClassifier(classifier, smoothing=0), [scene(RED)])


ENDLESS = """
import sys
from pathlib import Path
from tests.edge.collection.test_collector import *
familiar, folder = Path(sys.argv[1]), Path(sys.argv[2])
collector, frames = open_collector(folder, familiar), FrameClassifier(Classifier.load(familiar), smoothing=0)
random = np.random.default_rng()
for number in range(10**6):
    image = random.integers(0, 2, (6, 8, 3), np.uint8).repeat(40, 0).repeat(40, 1) * 60 + plain((120, 20, 20), 240, 320)
    watch(collector, frames, [plain(GREY), image], 4.0 * number)
"""


def test_kill_9_leaves_whole_images_with_their_rows(familiar: Path, tmp_path: Path) -> None:
    folder = tmp_path / "collected"
    root = Path(__file__).resolve().parents[3]
    for wait in (0.2, 0.5):
        process = subprocess.Popen([sys.executable, "-c", ENDLESS, familiar, folder], cwd=root)
        end = time.monotonic() + 30
        while not list(folder.glob("*.jpg")) and time.monotonic() < end:
            time.sleep(0.05)
        time.sleep(wait)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        images = list(folder.glob("2*.jpg"))
        assert images
        for path in images:
            read(path)
            assert json.loads(path.with_suffix(".json").read_text())["reason"]
    open_collector(folder, familiar).close()
    assert not list(folder.glob(".catsdogs-*"))
