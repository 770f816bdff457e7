"""The grab thread and its words on the state, with devices that are written here: no camera is needed."""

import re
import threading
import time
from collections.abc import Callable, Iterator
from itertools import islice, pairwise
from typing import Any

import numpy as np
import pytest

from catsdogs_edge.capture.frames import BgrImage, Frame, State
from catsdogs_edge.capture.live import LiveSource, Timing
from catsdogs_edge.errors import SourceError
from catsdogs_edge.images.drawings import draw

QUICK = Timing(first=2.0, stale=0.2, lost=0.6, frozen=0.2, settled=0.1, retry=0.05, longest_retry=0.2, tick=0.02)
BLANK = np.full((48, 64, 3), 16, np.uint8)


def image(number: int) -> BgrImage:
    return draw("cat", number % 50, 64)[:48]


class Device:
    """Delivers what a generator yields: frames, or functions that are called before the next frame."""

    def __init__(self, script: Iterator[BgrImage | Callable[[], object]]) -> None:
        self.script = script
        self.released = threading.Event()
        self.threads: set[int] = set()

    def read(self) -> tuple[bool, Any]:
        self.threads.add(threading.get_ident())
        for item in self.script:
            if not callable(item):
                return True, item
            item()
        return False, None

    def release(self) -> None:
        self.threads.add(threading.get_ident())
        self.released.set()


def frames(count: int, pause: float = 0.01) -> Iterator[BgrImage | Callable[[], object]]:
    for number in range(count):
        yield lambda: time.sleep(pause)
        yield image(number)


def states(seen: list[Frame]) -> list[State]:
    """The states in order, each once in a row."""
    return [frame.state for number, frame in enumerate(seen) if not number or seen[number - 1].state != frame.state]


def until(source: LiveSource, enough: Callable[[Frame], bool], seconds: float = 10.0) -> list[Frame]:
    seen = []
    end = time.monotonic() + seconds
    for frame in source:
        seen.append(frame)
        if enough(frame):
            return seen
        assert time.monotonic() < end, states(seen)
    raise AssertionError


def test_who_is_slow_gets_the_newest_frame_and_the_number_of_those_in_between() -> None:
    taken = []  # numbers of frames after which the next one was asked for

    def script() -> Iterator[BgrImage | Callable[[], object]]:
        for number in range(10_000):
            yield lambda: time.sleep(0.005)
            yield image(number)
            taken.append(number)

    device = Device(script())
    source = LiveSource(lambda: device, "camera 0", timing=QUICK).wait()
    stream = iter(source)
    seen = [next(stream)]
    while len(seen) < 5:
        time.sleep(0.1)
        while not taken:
            time.sleep(0.01)
        newest = taken[-1]
        seen.append(next(stream))
        assert seen[-1].number >= newest
    source.close()
    assert all(frame.state is State.LIVE and not frame.error for frame in seen)
    assert all(frame.dropped > 5 for frame in seen[1:])
    assert [later.number - earlier.number - 1 for earlier, later in pairwise(seen)] == [
        frame.dropped for frame in seen[1:]
    ]


def test_the_device_is_opened_read_and_released_in_one_thread() -> None:
    device = Device(frames(10_000))
    source = LiveSource(lambda: device, "camera 0", timing=QUICK).wait()
    next(iter(source))
    source.close()
    assert device.released.is_set()
    assert len(device.threads) == 1
    assert threading.get_ident() not in device.threads


def test_what_a_decoder_still_held_when_its_stream_broke_off_gets_no_label() -> None:
    def broken() -> Iterator[BgrImage | Callable[[], object]]:
        yield from frames(3)
        yield lambda: time.sleep(0.4)  # silent for longer than `stale`, then two frames at once, then the end
        yield from frames(2, 0.0)

    devices = iter([Device(broken()), Device(frames(10_000))])
    source = LiveSource(lambda: next(devices), "camera 0", timing=QUICK).wait()
    seen = until(source, lambda frame: frame.state is State.LIVE and frame.number >= 5)
    source.close()
    assert states(seen) == [State.LIVE, State.STALE, State.LOST, State.RECONNECTING, State.LIVE]
    (error,) = {frame.error for frame in seen if frame.rgb is not None and frame.error}
    assert error.startswith("frames come again after a silence")


def test_also_where_nobody_looked_in_the_meantime() -> None:
    def broken() -> Iterator[BgrImage | Callable[[], object]]:
        yield from frames(3)
        yield lambda: time.sleep(0.3)
        yield from frames(2, 0.0)
        yield lambda: time.sleep(10)

    source = LiveSource(lambda: Device(broken()), "camera 0", timing=QUICK).wait()
    looking = iter(source)
    next(looking)
    time.sleep(0.4)  # as a window that is paused
    frame = next(looking)
    source._grabber.stop()
    assert frame.rgb is not None
    assert frame.error.startswith("frames come again after a silence")


def test_a_device_that_opens_slowly_is_not_a_silence() -> None:
    def connect() -> Device:
        time.sleep(0.4)
        return Device(frames(10_000))

    source = LiveSource(connect, "camera 0", timing=QUICK)
    seen = until(source, lambda frame: frame.state is State.LIVE)
    source.close()
    assert not seen[-1].error
    assert not [frame for frame in seen[:-1] if frame.rgb is not None]


def test_a_stream_that_comes_back_by_itself_is_live_once_it_has_settled() -> None:
    def pausing() -> Iterator[BgrImage | Callable[[], object]]:
        yield from frames(3)
        yield lambda: time.sleep(0.4)
        yield from frames(10_000)

    source = LiveSource(lambda: Device(pausing()), "camera 0", timing=QUICK).wait()
    seen = until(source, lambda frame: frame.state is State.LIVE and frame.number >= 5)
    source.close()
    assert states(seen) == [State.LIVE, State.STALE, State.LIVE]
    back = [frame for frame in seen if frame.rgb is not None and frame.number >= 3]
    assert back[-1].captured - back[0].captured >= QUICK.settled


def test_a_stall_goes_stale_lost_reconnecting_and_live_again() -> None:
    back = threading.Event()

    def stalled() -> Iterator[BgrImage | Callable[[], object]]:
        yield from frames(3)
        yield back.wait

    devices = iter([Device(stalled()), Device(frames(10_000))])
    source = LiveSource(lambda: next(devices), "camera 0", timing=QUICK).wait()
    seen = until(source, lambda frame: frame.state is State.LIVE and frame.number >= 5)
    back.set()
    source.close()
    assert states(seen) == [State.LIVE, State.STALE, State.LOST, State.RECONNECTING, State.LIVE]
    assert all((frame.rgb is None) == (frame.state is not State.LIVE) for frame in seen)
    assert all(bool(frame.error) == (frame.state is not State.LIVE) for frame in seen)
    assert [frame.number for frame in seen] == sorted(frame.number for frame in seen)


def test_an_unplugged_camera_is_tried_again_at_growing_intervals() -> None:
    attempts = []

    def connect() -> Device:
        attempts.append(time.monotonic())
        if len(attempts) == 1:
            return Device(frames(2))
        if len(attempts) < 6:
            raise SourceError("camera 0 cannot be opened")
        return Device(frames(10_000))

    source = LiveSource(connect, "camera 0", timing=QUICK).wait()
    seen = until(source, lambda frame: frame.number >= 4)
    source.close()
    assert states(seen)[0] is states(seen)[-1] is State.LIVE
    gaps = np.diff(attempts[1:])
    assert gaps[1] > 1.5 * gaps[0]
    assert max(gaps) < 0.2 + 0.5
    assert any(re.match(r"next attempt in 0\.\d s: camera 0 cannot be opened$", frame.error) for frame in seen)


def test_a_stream_of_single_frames_is_opened_at_growing_intervals() -> None:
    attempts = []

    def connect() -> Device:
        attempts.append(time.monotonic())
        return Device(frames(10_000) if len(attempts) == 6 else frames(1))

    source = LiveSource(connect, "camera 0", timing=QUICK).wait()
    until(source, lambda frame: len(attempts) == 6 and frame.state is State.LIVE)
    source.close()
    gaps = np.diff(attempts)
    assert gaps[-1] > 3 * QUICK.retry
    assert gaps[-1] > 1.5 * gaps[0]


def test_blank_stand_ins_are_marked() -> None:
    def script() -> Iterator[BgrImage | Callable[[], object]]:
        yield image(1)
        for _ in range(1000):
            yield lambda: time.sleep(0.01)
            yield BLANK

    source = LiveSource(lambda: Device(script()), "camera 0", timing=QUICK).wait()
    seen = until(source, lambda frame: frame.state is State.STALE)
    source.close()
    assert "blank" in seen[-1].error


@pytest.mark.parametrize("may_repeat", [False, True])
def test_a_camera_that_repeats_itself_is_stuck_and_a_stream_may(may_repeat: bool) -> None:
    def script() -> Iterator[BgrImage | Callable[[], object]]:
        for _ in range(60):
            yield lambda: time.sleep(0.01)
            yield image(1).copy()

    source = LiveSource(lambda: Device(script()), "camera 0", may_repeat=may_repeat, timing=QUICK).wait()
    seen = until(source, lambda frame: frame.state is not State.LIVE)
    source.close()
    assert ("the same frame" in seen[-1].error) is not may_repeat
    assert (seen[-1].state is State.LOST) is may_repeat


def test_a_driver_that_hangs_does_not_keep_the_program() -> None:
    never = threading.Event()

    def hanging() -> Iterator[BgrImage | Callable[[], object]]:
        yield image(1)
        yield never.wait

    devices = iter([Device(hanging()), Device(frames(10_000))])
    source = LiveSource(lambda: next(devices), "camera 0", timing=QUICK).wait()
    until(source, lambda frame: frame.number >= 3)
    source.close()
    never.set()  # only now: who waits for the driver would wait for ever


def test_what_cannot_be_opened_at_first_is_an_error_at_once() -> None:
    def connect() -> Device:
        raise SourceError("camera 7 cannot be opened")

    with pytest.raises(SourceError, match="camera 7 cannot be opened"):
        LiveSource(connect, "camera 7", timing=QUICK).wait()


def test_a_camera_that_opens_and_delivers_nothing_is_an_error_after_a_while() -> None:
    never = threading.Event()

    def silent() -> Iterator[BgrImage | Callable[[], object]]:
        yield never.wait

    with pytest.raises(SourceError, match="delivers no frame in 0 s"):
        LiveSource(lambda: Device(silent()), "camera 0", timing=Timing(first=0.2)).wait()
    never.set()


def test_a_camera_that_opens_and_ends_at_once_is_named() -> None:
    with pytest.raises(SourceError, match=r"^camera 3 opens, but delivers no frame: another program may use it, "):
        LiveSource(lambda: Device(iter(())), "camera 3", timing=QUICK).wait()


def test_a_driver_that_always_hangs_does_not_gather_threads() -> None:
    never = threading.Event()
    opened = []

    def connect() -> Device:
        def hanging() -> Iterator[BgrImage | Callable[[], object]]:
            yield image(1)
            yield never.wait

        opened.append(1)
        return Device(hanging())

    before = threading.active_count()
    quick = Timing(first=0.1, stale=0.02, lost=0.05, retry=0.01, longest_retry=0.02, tick=0.01)
    source = LiveSource(connect, "camera 0", timing=quick).wait()
    seen = until(source, lambda frame: "hangs in its driver" in frame.error)
    assert seen[-1].state is State.LOST
    for frame in islice(source, 20):
        assert frame.error
    assert threading.active_count() <= before + 3
    source.close()
    never.set()
