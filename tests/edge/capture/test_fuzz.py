"""Damaged videos: frames or one error; never a traceback, a hang or a crash."""

from pathlib import Path

import pytest

from catsdogs_edge.capture.sources import VideoFile
from catsdogs_edge.errors import SourceError
from catsdogs_edge.images.drawings import draw
from tests.edge.conftest import write_video
from tests.edge.model.test_fuzz import damaged


@pytest.mark.slow
@pytest.mark.parametrize(("ending", "codec"), [(".avi", "MJPG"), (".mkv", "mp4v"), (".mp4", "mp4v"), (".webm", "VP80")])
def test_damaged_videos(ending: str, codec: str, tmp_path: Path) -> None:
    frames = [draw("cat", number, 96) for number in range(6)]
    whole = write_video(tmp_path / f"whole{ending}", frames, codec).read_bytes()
    path = tmp_path / f"damaged{ending}"
    frames_seen = 0
    for seed in range(250):
        path.write_bytes(damaged(whole, seed))
        try:
            source = VideoFile.open(str(path))
            try:
                frames_seen += sum(frame.rgb is not None for frame in source)
            finally:
                source.close()
        except SourceError:
            continue
    assert frames_seen > 250
