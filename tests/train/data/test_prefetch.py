"""Images from processes: the same as from threads, and whatever ends them leaves nothing behind."""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from catsdogs_edge.errors import ImageError, MemoryShortageError
from catsdogs_train.data import prefetch
from catsdogs_train.data.augmentation import STRONG
from catsdogs_train.data.batches import ImageBatches
from catsdogs_train.data.prefetch import Viewing
from catsdogs_train.data.split import Sample
from catsdogs_train.stages.error_messages import readable_errors
from tests.processes import ending


@pytest.fixture
def samples(tmp_path: Path) -> Iterator[list[Sample]]:
    random = np.random.default_rng(0)
    for number in range(20):
        cv2.imwrite(str(tmp_path / f"{number}.png"), random.integers(0, 256, (40, 60, 3), np.uint8))
    yield [Sample(tmp_path / f"{number}.png", number % 2, "") for number in range(20)]
    prefetch.stop()


def batches(samples: list[Sample], workers: int) -> ImageBatches:
    viewing = Viewing(image_size=32, recipe=STRONG, seed=1, view=2)
    return ImageBatches(samples, viewing, 10, shuffle=True, workers=workers)


def test_processes_show_what_threads_show(samples: list[Sample]) -> None:
    threads, processes = batches(samples, 0), batches(samples, 2)
    for index in (0, 1):
        images, *_ = threads[index]
        assert images.shape == (10, 32, 32, 3)
        np.testing.assert_array_equal(images, processes[index][0])
    assert len(multiprocessing.active_children()) == 2
    prefetch.stop()
    ends = time.monotonic() + 20
    while multiprocessing.active_children() and time.monotonic() < ends:
        time.sleep(0.1)
    assert not multiprocessing.active_children()


def test_an_image_that_is_gone_is_named_by_a_process_too(samples: list[Sample]) -> None:
    samples[4].path.unlink()
    shown = batches(samples, 2)
    with pytest.raises(ImageError, match=r"4\.png: no such file"):
        [shown[index] for index in range(2)]
    assert isinstance(shown.failure, ImageError)


def test_a_process_that_is_killed_is_one_line(samples: list[Sample]) -> None:
    shown = batches(samples, 2)
    shown[0]
    for child in multiprocessing.active_children():
        child.kill()
        child.join()
    again = batches(samples, 2)
    words = "has ended or does not start, as when memory is short: go on with --resume and fewer --workers, or 0"
    with pytest.raises(MemoryShortageError, match=words), readable_errors([again], 8):
        again[0]


@pytest.mark.skipif(sys.platform == "win32", reason="has no signals")
def test_processes_end_with_their_parent(samples: list[Sample]) -> None:
    code = (
        "import multiprocessing, time; from pathlib import Path; from catsdogs_train.data.prefetch import *\n"
        f"submit([Path({str(samples[0].path)!r})], [0], Viewing(image_size=32), 2)[0].result()\n"
        "print(*[child.pid for child in multiprocessing.active_children()], flush=True); time.sleep(600)\n"
    )
    with ending(subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)) as parent:
        assert parent.stdout is not None
        children = [int(word) for word in parent.stdout.readline().split()]
        parent.kill()
    assert children
    ends = time.monotonic() + 20
    while any(map(lives, children)) and time.monotonic() < ends:
        time.sleep(0.1)
    assert not any(map(lives, children))


def lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{process}/stat")  # who is dead and was not waited for lives on as a zombie
    return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] != "Z"


@pytest.mark.skipif(sys.platform == "win32", reason="has no signals")
@pytest.mark.parametrize("seconds", [0.05, 0.3, 1.0])
def test_ctrl_c_is_the_parents(seconds: float, samples: list[Sample], capfd: pytest.CaptureFixture[str]) -> None:
    """Also while processes start."""
    shown = batches(samples, 2)
    starter = threading.Thread(target=shown.__getitem__, args=(0,))
    starter.start()
    time.sleep(seconds)
    children = multiprocessing.active_children()
    for child in children:
        assert child.pid is not None
        os.kill(child.pid, signal.SIGINT)
    starter.join()
    np.testing.assert_array_equal(shown[1][0], batches(samples, 0)[1][0])
    assert all(child.is_alive() for child in children)
    assert capfd.readouterr().err == ""
