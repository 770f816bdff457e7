import sqlite3
from pathlib import Path

import cv2
import numpy as np
import pytest

from catsdogs_edge.images.drawings import draw, write_folder
from catsdogs_edge.images.similarity import EDGE
from catsdogs_train.data.audit import NEAR, Finding, examine, near_groups


@pytest.fixture
def images(tmp_path: Path) -> list[Path]:
    write_folder(tmp_path, per_class=10)
    return sorted(tmp_path.rglob("*.png"))


def test_each_kind_of_bad_file_has_its_reason(images: list[Path], tmp_path: Path) -> None:
    bad = {
        "empty.jpg": (b"", "empty file"),
        "text.jpg": (b"words", "not an image"),
        "torn.png": (images[0].read_bytes()[:500], "truncated PNG"),
    }
    for name, (data, _) in bad.items():
        (tmp_path / name).write_bytes(data)
    found = examine([*images, *(tmp_path / name for name in bad), tmp_path / "missing.jpg"], tmp_path / "a.sqlite")
    assert not any(item.problem for item in found[: len(images)])
    for item, (_, reason) in zip(found[len(images) :], bad.values(), strict=False):
        assert reason in item.problem
    assert found[-1].problem == "no such file"
    assert found[-1].sha256 == ""


def test_what_was_found_out_is_remembered_by_content(images: list[Path], tmp_path: Path) -> None:
    cache = tmp_path / "a.sqlite"
    first = examine(images, cache)
    with sqlite3.connect(cache) as memory:
        ((count,),) = memory.execute("SELECT count(*) FROM findings WHERE problem = ''").fetchall()
        memory.execute("UPDATE findings SET problem = 'as remembered'")
    memory.close()
    assert count == len(images)
    assert {item.problem for item in examine(images, cache)} == {"as remembered"}  # not decoded again
    cache.unlink()
    examine(images, cache)
    moved = [path.rename(tmp_path / f"moved-{number}.png") for number, path in enumerate(images)]
    assert examine(moved, cache) == first
    moved[0].write_bytes(moved[1].read_bytes())  # another content under the same name
    again = examine(moved, cache)
    assert again[0] == first[1]
    assert again[1:] == first[1:]


def test_without_a_place_to_remember_it_works_all_the_same(images: list[Path], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert examine(images, tmp_path / "file" / "a.sqlite") == examine(images, tmp_path / "a.sqlite")


def test_a_damaged_memory_is_no_failure(images: list[Path], tmp_path: Path) -> None:
    (tmp_path / "a.sqlite").write_bytes(b"this is no database" * 100)
    assert not any(item.problem for item in examine(images, tmp_path / "a.sqlite"))


def test_a_memory_that_breaks_in_between_is_no_failure(images: list[Path], tmp_path: Path) -> None:
    cache = tmp_path / "a.sqlite"
    whole = examine(images, cache)
    data = bytearray(cache.read_bytes())
    data[4096 : len(data)] = b"\x55" * (len(data) - 4096)
    cache.write_bytes(data)
    assert examine(images, cache) == whole
    cache.unlink()
    with sqlite3.connect(cache) as other:
        other.execute("CREATE TABLE findings (something TEXT)")
    other.close()
    assert examine(images, cache) == whole


def test_scaled_and_saved_anew_is_nearly_the_same_and_other_drawings_are_not(tmp_path: Path) -> None:
    paths = []
    for number in range(8):
        image = np.asarray(draw("cat", number, 300)[..., ::-1], np.uint8)
        for name, data in (
            ("a.png", cv2.imencode(".png", image)[1]),
            ("b.jpg", cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 60])[1]),
            ("c.png", cv2.imencode(".png", cv2.resize(image, (170, 150), interpolation=cv2.INTER_AREA))[1]),
        ):
            paths.append(tmp_path / f"{number}{name}")
            paths[-1].write_bytes(data.tobytes())
    groups = near_groups(examine(paths, tmp_path / "a.sqlite"))
    assert groups == [3 * number for number in range(8) for _ in range(3)]


def test_animals_in_front_of_one_camera_are_different_images(tmp_path: Path) -> None:
    """The hash hardly sees them: most of each frame is the room."""
    room = np.asarray(draw("room", 3, 480), np.float32)
    random = np.random.default_rng(0)
    paths = []
    for number in range(20):
        frame = room + random.normal(0, 3, room.shape)
        left, top = random.integers(0, 480 - 160, 2)
        frame[top : top + 160, left : left + 160] = draw("cat" if number % 2 else "dog", number, 160)
        paths.append(tmp_path / f"{number}.png")
        cv2.imwrite(str(paths[-1]), np.clip(frame[..., ::-1], 0, 255).astype(np.uint8))
    groups = near_groups(examine(paths, tmp_path / "a.sqlite"))
    assert len(set(groups)) >= 18  # two of them may stand in one place


def test_an_image_that_is_near_two_groups_joins_them(tmp_path: Path) -> None:
    """All are compared with those before, and the last one alone is near both."""
    thumbnail = bytes(3 * EDGE * EDGE)

    def finding(bits: int) -> Finding:
        return Finding(str(bits), bits, thumbnail, "")

    apart = (1 << (2 * NEAR)) - 1  # twice as many bits differ as may
    half = (1 << NEAR) - 1
    assert near_groups([finding(bits) for bits in (0, apart, apart << 40, half)]) == [0, 0, 2, 0]
