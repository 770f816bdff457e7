import io
import re
from pathlib import Path

import numpy as np
import pytest

from catsdogs_edge.capture.frames import Size, State
from catsdogs_edge.capture.sources import ImageFiles, RawFrames, VideoFile, open_source
from catsdogs_edge.errors import SourceError
from catsdogs_edge.output.terminal import redact
from tests.edge.conftest import BLUE, RED, encode, plain


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("rtsp://admin:p@ss:word@10.0.0.5:554/live", "rtsp://***@10.0.0.5:554/live"),
        ("http://cam/video?user=bob&pwd=x&channel=2", "http://cam/video?user=***&pwd=***&channel=***"),
        ("http://cam/?loginuse=bob&loginpas=x", "http://cam/?loginuse=***&loginpas=***"),
        ("https://cam/stream?access_token=abc", "https://cam/stream?access_token=***"),
        ("http://cam:8080/mjpg", "http://cam:8080/mjpg"),
        ("rtsp://u:p#ss@host/x", "rtsp://***@host/x"),
        ("rtsp://u:pa/ss@host/x", "rtsp://***@host/x"),
        ("rtsp://host/user=admin&password=hunter2&channel=1.sdp", "rtsp://host/user=***&password=***&channel=***"),
        ("http://host/?pw=hunter2", "http://host/?pw=***"),
        ("rtsp://[bad", "rtsp://[bad"),
        ("rtsp:/u:p@host/x", "rtsp:/***@host/x"),
        (r"rtsp:\u:p@host\x?pw=y", r"rtsp:\***@host\x?pw=***"),
        ("two: rtsp://u:p@a/x, http://v:q@b/y!", "two: rtsp://***@a/x, http://***@b/y!"),
        ("no address: C:/a@b.jpg, me@home", "no address: C:/a@b.jpg, me@home"),
        ("rtsp//admin:secret@host/x", "rtsp//***@host/x"),
        ("RTSP//admin:secret@host/x", "RTSP//***@host/x"),
        ("rtsp:admin:secret@host/x", "rtsp:***@host/x"),
        ("rtsp://u:pa'ss\"<w>@host/x", "rtsp://***@host/x"),
        ("'rtsp://u:p@a/x' cannot be opened", "'rtsp://***@a/x' cannot be opened"),
        ("udp: no answer from me@home", "udp: no answer from me@home"),
        ("no address: holiday//a@b.jpg", "no address: holiday//a@b.jpg"),
        (r"no address: C:\a@b.jpg", r"no address: C:\a@b.jpg"),
    ],
)
def test_credentials_are_hidden(url: str, shown: str) -> None:
    assert redact(url) == shown


def test_a_video_gives_every_frame_with_its_position(video: Path) -> None:
    source = open_source(str(video))
    assert isinstance(source, VideoFile)
    assert (source.live, source.fps) == (False, 25)
    frames = list(source)
    source.close()
    assert [frame.number for frame in frames] == list(range(10))
    assert [frame.position for frame in frames] == pytest.approx([number / 25 for number in range(10)])
    assert all(frame.state is State.LIVE and not frame.dropped for frame in frames)


def test_a_video_of_huge_frames_is_refused_before_one_is_decoded(video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("catsdogs_edge.capture.sources.MOST_PIXELS", 10)
    with pytest.raises(SourceError, match=r"a frame of .* has 0 million pixels, expected 0 million at most"):
        open_source(str(video))


def test_a_url_of_a_recording_is_a_recording(video: Path) -> None:
    source = open_source(video.as_uri())
    assert isinstance(source, VideoFile)
    assert len(list(source)) == 10


def test_a_video_that_is_cut_short_ends_with_an_error(pets: Path, tmp_path: Path) -> None:
    data = pets.read_bytes()
    (tmp_path / "half.avi").write_bytes(data[: len(data) // 2])
    frames = list(open_source(str(tmp_path / "half.avi")))
    assert all(not frame.error for frame in frames[:-1])
    assert re.match(r"\d+ frames can be decoded of 30: the video is cut short or damaged", frames[-1].error)


def test_images_folders_patterns_and_lists(album: Path, tmp_path: Path) -> None:
    names = tmp_path / "names.txt"
    names.write_text(f"{album}/a cat.png\n\n{album}/dog.JPG\n")
    for text, count in (
        (str(album), 4), (str(album / "a cat.png"), 1), (f"{album}/*.[jJ]*", 2), (f"@{names}", 2),
    ):  # fmt: skip
        source = open_source(text)
        assert isinstance(source, ImageFiles)
        assert len(list(source)) == count


def test_another_name_to_show_does_not_change_what_is_read(album: Path) -> None:
    source = open_source(str(album))
    source.name += " (2)"
    assert len(list(source)) == 4


def test_a_bad_image_is_a_frame_that_says_why(album: Path) -> None:
    frames = {Path(frame.path).name: frame for frame in open_source(str(album))}
    assert frames["torn.jpg"].rgb is None
    assert "truncated JPEG" in frames["torn.jpg"].error
    red = frames["a cat.png"].rgb
    assert red is not None
    assert np.all(red == RED)


def test_raw_frames_are_rgb() -> None:
    stream = io.BytesIO(plain(RED, 4, 6).tobytes() + plain(BLUE, 4, 6).tobytes())
    red, blue = list(RawFrames(stream, Size(6, 4)))
    assert red.rgb is not None
    assert blue.rgb is not None
    assert red.rgb.shape == (4, 6, 3)
    assert np.all(red.rgb == RED)
    assert np.all(blue.rgb == BLUE)


@pytest.mark.parametrize("size", ["640", "640x", "0x480", "640X480", "axb", "640x480x3", "-1x2"])
def test_a_size_is_width_times_height(size: str) -> None:
    with pytest.raises(ValueError, match="expected WIDTHxHEIGHT"):
        Size.parse(size)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("missing.mp4", "no such video or image"),
        ("cam:nothing-is-called-so", "0 cameras match"),
        ("/dev/video97", "cannot be opened"),
        ("99", "camera 99 cannot be opened"),
        ("http://127.0.0.1:1/x", "http://127.0.0.1:1/x cannot be opened"),
    ],
)
def test_what_does_not_open_says_so(text: str, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        open_source(text)


def test_raw_frames_come_from_standard_input_only() -> None:
    with pytest.raises(SourceError, match="expected '-'"):
        open_source("x.rgb", raw=Size(1, 1))


def test_an_empty_folder_is_said(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="holds no images"):
        list(open_source(str(tmp_path)))


def test_an_image_that_is_called_like_a_pattern_is_itself(tmp_path: Path) -> None:
    (tmp_path / "cat[1].png").write_bytes(encode(plain(RED)))
    (tmp_path / "cat1.png").write_bytes(encode(plain(BLUE)))
    (frame,) = open_source(str(tmp_path / "cat[1].png"))
    assert frame.path.endswith("cat[1].png")


@pytest.mark.parametrize("secret", ["admin:s3cr3t@10.0.0.5/live", "hunter2"])
def test_what_is_to_stay_secret_is_not_told(secret: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "secret").write_text(secret)
    monkeypatch.setenv("CAMERA", secret)
    for source in (f"file:{tmp_path / 'secret'}", "env:CAMERA"):
        with pytest.raises(SourceError) as caught:
            open_source(source)
        assert secret not in str(caught.value)
        assert source in str(caught.value)
