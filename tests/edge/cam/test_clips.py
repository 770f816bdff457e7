import contextlib
import importlib.util
import os
import re
import shutil
import subprocess
import threading
import time
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np
import pytest

from catsdogs_edge.cam import clips as clips_module
from catsdogs_edge.cam.clips import Clips
from catsdogs_edge.capture.frames import Frame, State
from catsdogs_edge.errors import OutputError
from catsdogs_edge.images.decode import RgbImage
from catsdogs_edge.images.jpeg import encode_jpeg
from catsdogs_edge.output.quota import Limit, Quota
from catsdogs_edge.stream.frame_result import FrameResult
from catsdogs_edge.stream.regions import Region
from catsdogs_edge.stream.smoothing import SmoothedPrediction
from tests.edge.conftest import BLUE, GREY, RED, plain, write_video
from tests.processes import ending, join

CHROMIUM = shutil.which("chromium")
RATE = 10
NOISE = np.random.default_rng(0).integers(0, 60, (240, 320, 3), np.uint8)


def picture(colour: tuple[int, int, int], number: int = 0) -> RgbImage:
    """Pixels that a codec cannot shrink to nothing."""
    return np.asarray(np.roll(NOISE, number * 7, axis=1) + plain(colour, 240, 320) // 2, np.uint8)


def seen(label: str, second: float, probability: float = 0.9, *, moment: float = 0.0) -> FrameResult:
    colour = {"cat": RED, "dog": BLUE}.get(label, GREY)
    frame = Frame(
        number=round(second * RATE), rgb=picture(colour, round(second * RATE)), position=second, time=moment + second
    )
    return FrameResult(frame=frame, smoothed=SmoothedPrediction(label, probability), fps=float(RATE))


def play(clips: Clips, label: str, start: float, seconds: float) -> float:
    for number in range(round(seconds * RATE)):
        assert clips.write(seen(label, start + number / RATE))
    return start + seconds


def open_clips(folder: Path, size: int | None = None, before: float = 1.0, after: float = 1.0) -> Clips:
    folder.mkdir(exist_ok=True)
    return Clips(Quota(folder, Limit(bytes=size) if size else None), before=before, after=after, live=False)


def length(video: Path) -> float:
    """Seconds of a video; all of it can be decoded."""
    capture = cv2.VideoCapture(str(video), cv2.CAP_FFMPEG)
    count = 0
    while capture.read()[0]:
        count += 1
    return count / capture.get(cv2.CAP_PROP_FPS)


def test_a_clip_begins_before_a_visit_and_ends_after_it(tmp_path: Path) -> None:
    clips = open_clips(tmp_path)
    now = play(clips, "neither", 0, 4)
    now = play(clips, "cat", now, 2)
    now = play(clips, "neither", now, 4)
    now = play(clips, "dog", now, 1)
    clips.close()
    found = sorted(path.name for path in tmp_path.iterdir())
    assert [re.sub(r"^\d{8}-\d{6}-", "", name) for name in found] == ["cat.jpg", "cat.webm", "dog.jpg", "dog.webm"]
    cat, dog = sorted(tmp_path.glob("*.webm"))
    assert length(cat) == pytest.approx(4, abs=0.35)  # one before, two, one after
    assert length(dog) == pytest.approx(2, abs=0.35)  # the camera ended
    image = cv2.imread(str(cat.with_suffix(".jpg")))
    assert image is not None
    assert image[..., 2].mean() > image[..., 0].mean() + 20  # red, which is the cat


def test_a_short_break_is_one_clip_and_a_long_visit_has_several(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clips = open_clips(tmp_path)
    now = play(clips, "cat", 0, 1)
    now = play(clips, "neither", now, 0.6)
    now = play(clips, "cat", now, 1)
    play(clips, "neither", now, 2)
    clips.close()
    assert len(list(tmp_path.glob("*.webm"))) == 1
    monkeypatch.setattr("catsdogs_edge.cam.clips.LONGEST", 2.0)
    clips = open_clips(tmp_path / "long")
    play(clips, "cat", 0, 3)
    clips.close()
    assert len(list((tmp_path / "long").glob("*.webm"))) == 2


def test_a_visit_of_another_class_has_a_clip_of_its_own(tmp_path: Path) -> None:
    clips = open_clips(tmp_path)
    now = play(clips, "cat", 0, 1)
    now = play(clips, "dog", now, 1)
    play(clips, "cat", now, 1)
    clips.close()
    assert [path.name[16:19] for path in sorted(tmp_path.glob("*.webm"))].count("dog") == 1
    assert len(list(tmp_path.glob("*.webm"))) == 3


def lost(second: float) -> FrameResult:
    return FrameResult(frame=Frame(number=0, rgb=None, state=State.LOST, error="gone", position=second), fps=0)


def test_a_source_that_is_away_for_hours_makes_no_clip_of_hours(tmp_path: Path) -> None:
    clips = open_clips(tmp_path)
    play(clips, "cat", 0, 1)
    clips.write(lost(1.5))
    clips.write(lost(3.0))
    play(clips, "cat", 10_000, 1)
    play(clips, "cat", 5, 1)  # a clock that runs backwards
    clips.close()
    assert [length(path) < 3 for path in tmp_path.glob("*.webm")] == [True] * 3


def test_a_clip_without_frames_before_it_has_the_rate_of_its_source(tmp_path: Path) -> None:
    clips = Clips(Quota(tmp_path, None), before=1, after=1, live=False, fps=RATE)
    for number in range(12):
        clips.write(replace(seen("cat", number / RATE), fps=0.0))
    clips.close()
    (clip,) = tmp_path.glob("*.webm")
    assert length(clip) == pytest.approx(1.2, abs=0.15)
    capture = cv2.VideoCapture(str(clip), cv2.CAP_FFMPEG)
    assert capture.get(cv2.CAP_PROP_FPS) == RATE


def test_a_clip_that_follows_another_one_at_once_has_its_rate(tmp_path: Path) -> None:
    clips = Clips(Quota(tmp_path, None), before=1, after=1, live=False)
    fast = 25
    for label, start in (("neither", 0), ("cat", 1), ("dog", 2)):
        for number in range(fast):
            clips.write(seen(label, start + number / fast))
    clips.close()
    captures = [cv2.VideoCapture(str(path), cv2.CAP_FFMPEG) for path in tmp_path.glob("*.webm")]
    assert [capture.get(cv2.CAP_PROP_FPS) for capture in captures] == [fast, fast]


def test_an_error_in_the_encoder_is_not_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clips = open_clips(tmp_path)
    monkeypatch.setattr("catsdogs_edge.cam.clips._free", lambda path: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        for second in range(1000):
            play(clips, "cat", second, 1)
            time.sleep(0.01)
    with pytest.raises(ZeroDivisionError):
        clips.close()


def test_a_source_that_is_lost_ends_nothing_before_its_time(tmp_path: Path) -> None:
    clips = open_clips(tmp_path)
    play(clips, "cat", 0, 1)
    clips.write(lost(1.2))
    play(clips, "cat", 1.5, 1)
    clips.close()
    (clip,) = tmp_path.glob("*.webm")
    assert length(clip) == pytest.approx(2.5, abs=0.35)  # as long as it took


def test_the_region_and_the_source_are_in_the_name(tmp_path: Path) -> None:
    region = Region.parse("flap=0,0,1,1")
    clips = Clips(Quota(tmp_path, None), before=1, after=1, live=True, source="rtsp://h/garden")
    result = seen("cat", 0)
    part = FrameResult(frame=result.frame, smoothed=result.smoothed, fps=10, region=region)
    clips.write(FrameResult(frame=result.frame, smoothed=result.smoothed, fps=10, region=region, regions=(part,)))
    clips.close()
    assert [path.name[16:] for path in sorted(tmp_path.glob("*.webm"))] == ["rtsp_h_garden-flap-cat.webm"]


def test_the_folder_never_holds_more_than_its_quota_and_the_newest_stay(tmp_path: Path) -> None:
    most, watched, ended = 5_000_000, [0], threading.Event()

    def watch() -> None:
        while not ended.is_set():
            sizes = []
            for path in tmp_path.iterdir():
                try:
                    sizes.append(path.stat().st_size)
                except FileNotFoundError:
                    continue
            watched.append(sum(sizes))
            time.sleep(0.002)

    thread = threading.Thread(target=watch)
    thread.start()
    clips = open_clips(tmp_path, most, before=0.2, after=0.2)
    now = 0.0
    for number in range(18):
        label = "cat" if number % 2 else "dog"
        for step in range(6):
            clips.write(seen(label, now + step / RATE, moment=100_000))
        now = play(clips, "neither", now + 0.6, 0.6)
    clips.close()
    ended.set()
    join(thread)
    assert 2_000_000 < max(watched) <= most
    left = sorted(path.name for path in tmp_path.glob("*.webm"))
    assert 3 < len(left) < 18
    assert all(length(path) > 0.5 for path in tmp_path.glob("*.webm"))


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    folder = tmp_path / "clips"
    clips = open_clips(folder)
    folder.rmdir()
    with pytest.raises(OutputError, match="clips"):
        play(clips, "cat", 0, 2)
        clips.close()


def test_kill_9_leaves_whole_clips_and_the_next_start_tidies_up(
    scripts: Path, no_display: dict[str, str], familiar: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "clips"
    command: list[str | Path] = [scripts / "catsdogs-cam", "-", "--raw", "320x240", "--model", familiar, "--no-window"]
    command += ["--clips", folder, "--clip-before", "0.2", "--clip-after", "0.2", "--smoothing", "0"]
    with ending(subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, env=no_display)) as process:
        assert process.stdin is not None
        for number in range(400):
            colour = RED if number % 20 < 8 else GREY
            process.stdin.write(plain(colour, 240, 320).tobytes())
            process.stdin.flush()
            time.sleep(0.05)
            hidden = list(folder.glob(".catsdogs-*")) if folder.exists() else []
            if hidden and len(list(folder.glob("*.webm"))) > 2:
                break
        process.kill()
    whole = list(folder.glob("[0-9]*.webm"))
    assert len(whole) > 1
    assert all(length(path) > 0.2 for path in whole)
    assert list(folder.glob(".catsdogs-*"))
    video = write_video(tmp_path / "v.avi", [plain(GREY, 240, 320)] * 3)
    subprocess.run(
        [scripts / "catsdogs-cam", video, "--model", familiar, "--clips", folder], check=True, env=no_display
    )
    assert not list(folder.glob(".catsdogs-*"))
    assert len(list(folder.glob("[0-9]*.webm"))) == len(whole)


PLAY = """(names) => Promise.all(names.map((name) => new Promise((done, fail) => {
    const video = document.createElement("video");
    video.muted = true;
    video.src = name;
    video.onended = () => done([video.duration, video.videoWidth]);
    video.onerror = () => fail(video.error);
    video.play();
})))"""


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (on Debian: apt install chromium)")
@pytest.mark.skipif(importlib.util.find_spec("playwright") is None, reason="needs Playwright (extra test-web)")
def test_forty_visits_under_a_quota_play_in_a_browser(tmp_path: Path) -> None:
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - it may be missing

    clips = open_clips(tmp_path, 8_000_000, before=0.3, after=0.3)
    now, sizes, closed = 0.0, [0], threading.Event()

    def look() -> None:
        while not closed.wait(0.02):
            with contextlib.suppress(FileNotFoundError):
                sizes.append(sum(path.stat().st_size for path in tmp_path.iterdir()))

    looking = threading.Thread(target=look)
    looking.start()
    for number in range(40):
        label = "cat" if number % 2 else "dog"
        for step in range(12):
            clips.write(seen(label, now + step / RATE, moment=100_000))
        now = play(clips, "neither", now + 1.2, 0.8)
    clips.close()
    closed.set()
    join(looking)
    assert 6_000_000 < max(sizes) <= 8_000_000
    kept = sorted(tmp_path.glob("*.webm"))
    assert len(kept) < 40
    assert len({path.with_suffix(".jpg").exists() for path in kept}) == 1
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server, sync_playwright() as playwright:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page()
        page.goto(f"http://127.0.0.1:{server.server_address[1]}/")
        for start in range(0, len(kept), 20):
            some = kept[start : start + 20]
            played = page.evaluate(PLAY, [path.name for path in some])
            assert [width for _, width in played] == [320] * len(some)
            assert [seconds for seconds, _ in played] == pytest.approx([length(path) for path in some], abs=0.2)
        browser.close()
        server.shutdown()


def test_a_clip_that_grows_beyond_its_part_ends_early_and_the_watch_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    random = np.random.default_rng(1)
    before = tmp_path / "20200101-000000-dog.webm"
    before.write_bytes(bytes(4_900_000))
    clips = open_clips(tmp_path, size=5_000_000)
    for number in range(120):  # a codec makes 70 kB of each
        frame = Frame(number=number, rgb=random.integers(0, 256, (480, 640, 3), np.uint8), position=number / RATE)
        label = "neither" if number < 10 else "cat"
        assert clips.write(FrameResult(frame=frame, smoothed=SmoothedPrediction(label, 0.9), fps=float(RATE)))
    clips.close()
    (clip,) = tmp_path.glob("*.webm")
    assert length(clip) > 1
    early, counted = caplog.messages
    assert early == f"{clip} ends before its visit: it has grown to a quarter of the quota"
    assert counted == f"Clips in {tmp_path}: 1 new; 1 older went for the quota."
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 5_000_000


def test_a_clip_and_its_image_go_together(tmp_path: Path) -> None:
    for number in range(6):
        for suffix, age in ((".webm", 2 * number + 1), (".jpg", 2 * number)):
            path = tmp_path / f"20261127-07301{number}-cat{suffix}"
            path.write_bytes(bytes(900_000))
            os.utime(path, (1e9 - age, 1e9 - age))
    Quota(tmp_path, Limit(bytes=5_000_000))
    left = {path.stem for path in tmp_path.iterdir()}
    assert left == {"20261127-073010-cat", "20261127-073011-cat"}
    assert len(list(tmp_path.iterdir())) == 4


def test_a_visit_in_two_regions_is_one_clip_whichever_sees_it_last(tmp_path: Path) -> None:
    """The one that ends first leaves no clip of the empty yard behind, the other's rest."""
    flap, bowl = (Region.parse(f"{name}=0,0,1,1") for name in ("flap", "bowl"))
    clips = open_clips(tmp_path)
    shown = (
        [("neither", "neither")] * 5 + [("cat", "cat")] * 10 + [("neither", "cat")] * 3 + [("neither", "neither")] * 15
    )
    for number, labels in enumerate(shown):
        result = seen("cat" if "cat" in labels else "neither", number / RATE)
        parts = tuple(
            FrameResult(frame=result.frame, smoothed=SmoothedPrediction(label, 0.9), fps=float(RATE), region=region)
            for label, region in zip(labels, (flap, bowl), strict=True)
        )
        clips.write(FrameResult(frame=result.frame, fps=float(RATE), regions=parts))
    clips.close()
    (clip,) = tmp_path.glob("*.webm")
    assert clip.stem.endswith("flap-cat")
    assert length(clip) > 2


def test_what_waits_in_memory_is_bounded_by_its_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Frames from before a visit are fewer then; of a file, none is left out for it."""
    size = len(encode_jpeg(picture(GREY), 85))
    monkeypatch.setattr(clips_module, "_MOST_BYTES", 4 * size)
    clips = open_clips(tmp_path, before=5.0)
    now = play(clips, "neither", 0, 3)
    play(clips, "cat", now, 2)
    clips.close()
    (clip,) = tmp_path.glob("*.webm")
    assert length(clip) == pytest.approx(2.35, abs=0.25)
    assert caplog.text.count("Clips begin 0 s before a visit, not 5") == 1


@pytest.mark.parametrize("after", [0.0, 0.05])
def test_a_visit_is_one_clip_though_nothing_is_kept_after_it(tmp_path: Path, after: float) -> None:
    clips = open_clips(tmp_path, after=after)
    now = play(clips, "cat", 0, 1)
    now = play(clips, "neither", now, 1)
    play(clips, "cat", now, 1)
    clips.close()
    assert len(list(tmp_path.glob("*.webm"))) == 2


def test_a_slow_camera_has_a_clip_for_a_visit_and_not_for_each_frame(tmp_path: Path) -> None:
    clips = open_clips(tmp_path, after=3)
    for number in range(4):
        clips.write(seen("neither" if number < 2 else "cat", 8.0 * number))
    clips.close()
    assert len(list(tmp_path.glob("*.webm"))) == 1


def test_clips_of_two_cameras_that_begin_in_one_second_have_each_its_name(tmp_path: Path) -> None:
    quota = Quota(tmp_path, None)
    long = "/a/long/folder" * 12
    cameras = [
        Clips(quota, before=1, after=1, live=False, source=f"{long}/{name}.mp4") for name in ("morning", "morning")
    ]
    for second in range(3):
        for camera in cameras:
            play(camera, "cat", second, 1)
    for camera in cameras:
        camera.close()
    names = sorted(path.name for path in tmp_path.iterdir())
    assert len(names) == 4
    assert all("morning.mp4-cat" in name for name in names)
