from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from catsdogs_edge.drawings import write_folder
from catsdogs_edge.errors import DataError
from catsdogs_edge.image import RgbBatch
from catsdogs_train.batches import PictureBatches
from catsdogs_train.dataset import Sample
from catsdogs_train.features import HEAD_WIDTH, Features
from catsdogs_train.nothing import draw_nothing
from catsdogs_train.others import FEWEST, find_others, learn
from catsdogs_train.settings import Settings

SETTINGS = Settings((Path("pets"),), Path("run"), image_size=32, keep=0.9)


@pytest.fixture
def rooms(tmp_path: Path) -> Path:
    """Pictures of neither: stripes, in folders."""
    for number in range(30):
        folder = tmp_path / "rooms" / f"room{number % 6}"
        folder.mkdir(parents=True, exist_ok=True)
        picture = np.zeros((40, 40, 3), np.uint8)
        picture[:, :: 2 + number % 5] = (90 + 5 * number, 200, 3 * number)
        assert cv2.imwrite(str(folder / f"{number}.png"), picture)
    return tmp_path / "rooms"


def test_what_is_no_picture_of_neither_is_left_out_with_the_reason(rooms: Path) -> None:
    pet = rooms / "room0" / "0.png"
    (rooms / "room1" / "again.png").write_bytes((rooms / "room2" / "2.png").read_bytes())
    (rooms / "torn.jpg").write_bytes(b"\xff\xd8 nothing")
    known = Sample(pet, 0, find_others(rooms, [], 0)[0][0].sha256)
    others, left_out = find_others(rooms, [known], 0)
    assert len(others) == 29
    reasons = {item.path.name: item.reason for item in left_out}
    assert reasons.keys() == {"torn.jpg", "0.png", "2.png"}
    assert "a picture of a class as well" in reasons["0.png"]
    assert "the same file as" in reasons["2.png"]
    assert {sample.label for sample in others} == {0, 1, 2, 3, 4}
    assert len({(sample.path.parent, sample.label) for sample in others}) == 6  # a folder is in one fold


def test_too_few_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        find_others(tmp_path / "none", [], 0)
    with pytest.raises(DataError, match=f"0 pictures that can be read and are in no class, expected at least {FEWEST}"):
        find_others(tmp_path, [], 0)


def ask(batches: PictureBatches | RgbBatch) -> Features:
    """Features of which some tell how colourful a picture is, and how it varies."""
    images = (
        batches if isinstance(batches, np.ndarray) else np.concatenate([batches[i][0] for i in range(len(batches))])
    )
    features = np.zeros((len(images), HEAD_WIDTH + 8), np.float32)
    features[:, HEAD_WIDTH : HEAD_WIDTH + 3] = images.mean(axis=(1, 2)) / 64
    features[:, HEAD_WIDTH + 3 : HEAD_WIDTH + 6] = images.std(axis=(1, 2)) / 32
    features[:, HEAD_WIDTH + 6] = np.abs(np.diff(images.astype(np.float32), axis=2)).mean(axis=(1, 2, 3)) / 16
    return features


def test_pictures_of_neither_are_judged_by_what_does_not_know_them(rooms: Path, tmp_path: Path) -> None:
    write_folder(tmp_path / "pets", per_class=40)
    pets = sorted((tmp_path / "pets").rglob("*.png"))
    samples = [Sample(path, 0, "") for path in pets]
    features = ask(PictureBatches(samples, np.ones((len(samples), 1), np.float32), 32, 8))
    others, _ = find_others(rooms, [], 0)
    learned = learn(SETTINGS, samples[::2], others, features[1::2], ask)
    assert (learned.others, learned.keep, len(learned.other_scores)) == (30, 0.9, 30)
    assert (learned.val_scores >= 0).mean() >= 0.9
    assert learned.refused is not None
    assert learned.refused > 0.9
    alone = learn(replace(SETTINGS, keep=0.8), samples[::2], [], features[1::2], ask)
    assert (alone.others, alone.refused, len(alone.other_scores)) == (0, None, 0)
    assert "Mahalanobis" in alone.detector.method


def test_nothing_is_blank_dark_noise_or_blurred() -> None:
    picture = np.zeros((64, 64, 3), np.uint8)
    picture[::8] = 255
    frames = draw_nothing(80, 64, 0, [picture])
    assert frames.shape == (80, 64, 64, 3)
    assert np.array_equal(frames, draw_nothing(80, 64, 0, [picture]))
    assert not np.array_equal(frames, draw_nothing(80, 64, 1, [picture]))
    _, noise, dark, blurred = (frames[kind::4] for kind in range(4))
    assert dark.mean() < 15
    assert noise.std(axis=(1, 2, 3)).min() > 20
    assert blurred.std(axis=(1, 2, 3)).max() < 40 < picture.std()
