"""Views that the network draws itself look as those of OpenCV, and are fed as those are."""

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import keras
import numpy as np
import pytest

from catsdogs_edge.errors import DataError, OutputError
from catsdogs_edge.images.decode import RgbBatch
from catsdogs_edge.images.drawings import draw
from catsdogs_train.data.arrays import read_array
from catsdogs_train.data.split import Sample
from catsdogs_train.network import device_batches
from catsdogs_train.network.device_batches import DeviceImages, choose_views_on, decode_once
from catsdogs_train.settings import ComputeDtype, Settings, ViewsOn
from catsdogs_train.views.augmentation import PUBLISHED, STRONG, Recipe
from catsdogs_train.views.batches import ImageBatches, make_targets
from catsdogs_train.views.prefetch import Viewing

EDGE, SIZE, COUNT = 96, 64, 24
NEAR = {  # mean difference in levels, share of pixels that may be further off than four of them
    "published": (PUBLISHED, 0.01, 0.0),
    "warped": (Recipe(smallest=0.5, largest=1.2, anywhere=True, flip=True), 0.01, 0.0),
    "coloured": (Recipe(colour=0.25), 0.2, 0.0),
    "erased": (Recipe(erase=1.0), 0.2, 0.0),
    "barred": (Recipe(bars=1.0), 8.0, 0.25),  # OpenCV rounds the ends of lines to pixels
    "strong": (STRONG, 3.0, 0.1),
}
IMAGES = np.stack([np.asarray(draw("dog" if number % 2 else "cat", number, EDGE), np.uint8) for number in range(COUNT)])


@pytest.fixture
def samples(tmp_path: Path) -> list[Sample]:
    """The images as files; a PNG is decoded to the pixels that were written."""
    for number, image in enumerate(IMAGES):
        cv2.imwrite(str(tmp_path / f"{number}.png"), image[..., ::-1])
    return [Sample(tmp_path / f"{number}.png", number % 2, "") for number in range(COUNT)]


def identity() -> keras.Model:
    image = keras.Input((None, None, 3), dtype="uint8", name="image")
    return keras.Model(image, keras.layers.Rescaling(1.0, dtype="float32")(image), name="identity")


def both(samples: list[Sample], recipe: Recipe, *, resident: bool, mixup: float = 0.0) -> tuple[list[RgbBatch], ...]:
    """Returns the batches of a view, as the host and as the device draws them."""
    viewing = Viewing(image_size=EDGE, recipe=recipe, size=SIZE, seed=3, view=5)
    arguments = samples, viewing, 10
    device_images = DeviceImages(IMAGES, resident=resident, mixes=mixup > 0)
    host = ImageBatches(*arguments, targets=make_targets(samples, 2), shuffle=True, mixup=mixup)
    device = device_images.batches(*arguments, targets=make_targets(samples, 2), shuffle=True, mixup=mixup)
    model = device_images.add_views(identity(), ComputeDtype.FLOAT32)
    assert len(host) == len(device)
    for index in range(len(host)):
        for one, other in zip(host[index][1:], device[index][1:], strict=True):
            np.testing.assert_array_equal(one, other)
    return [host[index][0] for index in range(len(host))], [
        np.asarray(model.predict_on_batch(device[index][0]), np.uint8) for index in range(len(device))
    ]


@pytest.mark.parametrize("name", NEAR)
def test_they_look_as_those_of_opencv(name: str, samples: list[Sample]) -> None:
    recipe, mean, share = NEAR[name]
    host, device = (np.concatenate(batches).astype(int) for batches in both(samples, recipe, resident=False))
    assert host.shape == device.shape == (COUNT, SIZE, SIZE, 3)
    assert host.std() > 30
    difference = np.abs(host - device)
    assert difference.mean() < mean
    assert (difference > 4).mean() <= share
    for axis, most in (((0, 1, 2), 2), ((1, 2, 3), 5)):  # of each channel, of each image
        assert np.abs(host.mean(axis=axis) - device.mean(axis=axis)).max() < most
        assert np.abs(host.std(axis=axis) - device.std(axis=axis)).max() < most


def test_a_device_that_has_the_images_shows_the_same(samples: list[Sample]) -> None:
    streamed, resident = (both(samples, STRONG, resident=resident)[1] for resident in (False, True))
    for one, other in zip(streamed, resident, strict=True):
        np.testing.assert_array_equal(one, other)


def test_they_are_mixed_as_on_the_host(samples: list[Sample]) -> None:
    for one, other in zip(*both(samples, PUBLISHED, resident=False, mixup=1.0), strict=True):
        assert np.abs(one.astype(int) - other.astype(int)).max() <= 1


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="needs JAX")
def test_they_are_the_same_on_the_other_backend(samples: list[Sample], tmp_path: Path) -> None:
    other = "tensorflow" if keras.backend.backend() == "jax" else "jax"
    code = (
        f"import os; os.environ['KERAS_BACKEND'] = {other!r}\n"
        "import sys, numpy as np; from pathlib import Path\n"
        "from tests.train.views.test_device_views import *\n"
        f"folder = Path({str(tmp_path)!r})\n"
        "samples = [Sample(folder / f'{number}.png', number % 2, '') for number in range(COUNT)]\n"
        "np.save(folder / 'views.npy', np.concatenate(both(samples, STRONG, resident=True)[1]))\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[3])
    here = np.concatenate(both(samples, STRONG, resident=True)[1]).astype(int)
    assert np.abs(here - np.load(tmp_path / "views.npy")).max() <= 1


def test_images_are_decoded_once(samples: list[Sample], tmp_path: Path) -> None:
    file = tmp_path / "images-train.npy"
    batches = ImageBatches(samples, Viewing(image_size=EDGE), 10)
    decode_once(batches, EDGE, file)
    np.testing.assert_array_equal(read_array(file), IMAGES)


@pytest.mark.slow
def test_a_disk_that_is_full_is_said(samples: list[Sample], small_disk: Path) -> None:
    many = 10 * samples  # 6.6 MB
    with pytest.raises(OutputError, match="No space left on device"):
        decode_once(ImageBatches(many, Viewing(image_size=EDGE), 10), EDGE, small_disk / "images.npy")
    assert not list(small_disk.iterdir())


def test_a_gpu_draws_where_it_can(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def choose(*, gpu: bool = True, devices: int = 1, free: int = 10**12, begun: str | None = None, **more: Any) -> str:
        monkeypatch.setattr(device_batches, "has_gpu", lambda: gpu)
        monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
        return choose_views_on(Settings(data=[tmp_path], out=tmp_path / "run", **more), 1000, devices, begun).value

    assert choose() == choose(devices=2) == "device"
    assert choose(gpu=False) == choose(mixup=0.2) == choose(free=10**8) == "host"
    assert choose(gpu=False, begun="device") == "device"  # as it was begun, so that it ends as it would have
    assert choose(begun="host") == "host"
    assert choose(gpu=False, views_on=ViewsOn.DEVICE, mixup=0.2) == "device"
    with pytest.raises(DataError, match="--views-on host, or --mixup 0"):
        choose(views_on=ViewsOn.DEVICE, mixup=0.2, devices=2)
