from pathlib import Path

import numpy as np
import pytest

from catsdogs_edge.cam.overlay import Annotator
from catsdogs_edge.cam.recorder import Recorder, Segments, _why_no_more
from catsdogs_edge.capture.frames import Frame
from catsdogs_edge.errors import OutputError
from catsdogs_edge.output.quota import Limit, Quota, timed_name
from catsdogs_edge.runtime.providers import Provider
from catsdogs_edge.stream.frame_result import FrameResult

resource = pytest.importorskip("resource")  # not on Windows

BLACK = np.zeros((240, 320, 3), np.uint8)


def test_a_still_scene_of_which_little_is_written_is_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("catsdogs_edge.cam.recorder._SECONDS_TO_GROW", 0.0)
    recorder = Recorder(tmp_path / "still.mkv", Annotator(Provider.CPU), 5, live=False)
    for number in range(60):
        assert recorder.write(FrameResult(frame=Frame(number=number, rgb=BLACK, time=0), fps=5))
    assert (tmp_path / "still.mkv").stat().st_size == 0  # FFmpeg has it all
    recorder.close()
    assert [path.name for path in tmp_path.iterdir()] == ["still.mkv"]


def test_a_recording_under_another_name_is_not_removed_for_its_quota(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("catsdogs_edge.cam.recorder._SECONDS_BETWEEN_LOOKS", 0.0)
    other = tmp_path / f"{timed_name(0, 'record')}.mkv"  # of another command, begun in the same second
    other.write_bytes(b"x")
    segments = Segments(Quota(tmp_path, Limit(bytes=5_000_000)), Annotator(Provider.CPU), 5, live=False)
    noise = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)
    for number in range(60):
        noise = np.roll(noise, 7, axis=1)
        assert segments.write(FrameResult(frame=Frame(number=number, rgb=noise, time=0), fps=5))
        sizes = {path: path.stat().st_size for path in tmp_path.iterdir()}
        assert set(sizes) - {other}, "the file that is being written is gone"
        assert sum(sizes.values()) < 5_000_000
    segments.close()


def test_a_recording_that_cannot_grow_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("catsdogs_edge.cam.recorder._SECONDS_TO_GROW", 0.0)
    recorder = Recorder(tmp_path / "still.mkv", Annotator(Provider.CPU), 5, live=False)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**19, before[1]))
    try:
        with pytest.raises(
            OutputError, match=r"does not grow any more \(0 bytes\): the limit on files is 524288 bytes"
        ):
            for number in range(60):
                recorder.write(FrameResult(frame=Frame(number=number, rgb=BLACK, time=0), fps=5))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    recorder.close()


def test_a_folder_that_is_gone_is_why(tmp_path: Path) -> None:
    assert _why_no_more(tmp_path, 0) == ""
    assert _why_no_more(tmp_path / "none", 0) == "No such file or directory"


def test_a_recording_that_was_removed_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("catsdogs_edge.cam.recorder._SECONDS_TO_GROW", 0.0)
    recorder = Recorder(tmp_path / "still.mkv", Annotator(Provider.CPU), 5, live=False)
    still = FrameResult(frame=Frame(number=0, rgb=BLACK, time=0), fps=5)
    recorder.write(still)
    (tmp_path / "still.mkv").unlink()
    with pytest.raises(OutputError, match="is gone"):
        recorder.write(still)
