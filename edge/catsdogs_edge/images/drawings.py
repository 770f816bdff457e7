"""Draws small images of cats and dogs: for demos, self-tests and tests, where no photograph may be.

They are cartoons: cats sit before a striped wall, dogs on a lawn; rooms are empty. A network trained on photographs
owes them nothing; and one trained on them has learned walls and lawns as well as ears.

    python -m catsdogs_edge.images.drawings FOLDER IMAGES_PER_CLASS [--first-seed N] [--kind cat|dog|room]... [--soft]
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from catsdogs_edge.errors import OutputError
from catsdogs_edge.images.decode import RgbImage

PETS = ("cat", "dog")

KINDS = (*PETS, "room")

_FURS = ((60, 55, 55), (140, 140, 145), (225, 205, 175), (205, 130, 60), (120, 80, 50), (170, 110, 80))  # RGB
_FOCUS = 3.5 / 256  # standard deviation of the blur of a soft drawing, of its edge length


def draw(kind: str, seed: int, size: int = 256, *, grain: float = 6.0) -> RgbImage:
    """Draws one head, or a room without anybody, as uint8 RGB (size, size, 3); place, size and colours at random.

    `kind` is one of `KINDS`, else `ValueError`; the same seed gives the same image; `grain` is the standard deviation
    of the noise, in grey levels: an image without it makes a small file.
    """
    if kind not in KINDS:
        raise ValueError(f"cannot draw {kind!r}: expected one of {', '.join(KINDS)}")
    random = np.random.default_rng([seed, KINDS.index(kind)])
    image = np.empty((size, size, 3), np.uint8)
    if kind == "room":
        _room(image, random)
    else:
        (_wall if kind == "cat" else _lawn)(image, random)
        pen = _Pen(image, size * random.uniform(0.4, 0.6, 2), size * random.uniform(0.2, 0.27), random)
        (_cat if kind == "cat" else _dog)(pen)
    noise = random.normal(0, grain, image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8)


def draw_soft(kind: str, seed: int, size: int = 256) -> RgbImage:
    """Draws the same as `draw`, a little out of focus, grain and all: as a photograph, not as a drawing."""
    return np.asarray(cv2.GaussianBlur(draw(kind, seed, size), (0, 0), _FOCUS * size), np.uint8)


def write_folder(
    folder: Path, per_class: int, first_seed: int = 0, kinds: Sequence[str] = PETS, *, soft: bool = False
) -> None:
    """Writes PNG files into one folder for each kind: `FOLDER/cat/0.png` and so on; the name is the seed."""
    for kind in kinds:
        (folder / kind).mkdir(parents=True, exist_ok=True)
        for seed in range(first_seed, first_seed + per_class):
            image = draw_soft(kind, seed) if soft else draw(kind, seed)
            _, png = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
            path = folder / kind / f"{seed}.png"
            if path.exists() and path.read_bytes() != png.tobytes():
                raise OutputError(f"{path} is there already, and is another image: choose another folder")
            path.write_bytes(png.tobytes())


class _Pen:
    """Draws shapes given in units of the head's radius around the head's centre; y grows downwards."""

    def __init__(self, image: RgbImage, centre: NDArray[np.float64], radius: float, random: np.random.Generator):
        self._image = image
        self._centre = centre
        self._radius = radius
        self.fur = _FURS[int(random.integers(len(_FURS)))]
        self.dark = tuple(value // 2 for value in self.fur)

    def polygon(self, points: list[tuple[float, float]], colour: tuple[int, ...]) -> None:
        corners = np.array([self._to_pixels(point) for point in points], np.int32)
        cv2.fillPoly(self._image, [corners], colour, cv2.LINE_AA)

    def ellipse(self, centre: tuple[float, float], axes: tuple[float, float], colour: tuple[int, ...]) -> None:
        lengths = (round(axes[0] * self._radius), round(axes[1] * self._radius))
        cv2.ellipse(self._image, self._to_pixels(centre), lengths, 0, 0, 360, colour, -1, cv2.LINE_AA)

    def line(self, start: tuple[float, float], end: tuple[float, float], colour: tuple[int, ...]) -> None:
        cv2.line(self._image, self._to_pixels(start), self._to_pixels(end), colour, 2, cv2.LINE_AA)

    def _to_pixels(self, point: tuple[float, float]) -> tuple[int, int]:
        x, y = self._centre + self._radius * np.array(point)
        return round(x), round(y)


def _wall(image: RgbImage, random: np.random.Generator) -> None:
    """A wall paper with upright stripes in two warm shades."""
    light = np.array([240, 200, 160]) + random.integers(-25, 16, 3)
    width = image.shape[1] // int(random.integers(6, 11))
    image[:] = light
    for left in range(0, image.shape[1], 2 * width):
        image[:, left : left + width] = light - 30


def _lawn(image: RgbImage, random: np.random.Generator) -> None:
    """A sky above a lawn."""
    horizon = int(image.shape[0] * random.uniform(0.35, 0.55))
    image[:horizon] = np.array([150, 200, 240]) + random.integers(-20, 16, 3)
    image[horizon:] = np.array([90, 160, 70]) + random.integers(-25, 26, 3)


def _room(image: RgbImage, random: np.random.Generator) -> None:
    """A floor, a wall with a window, a door or a picture on it, and perhaps a sofa or a table."""
    size = image.shape[0]
    colours = random.uniform(40, 236, (6, 3))
    colours = (0.4 * colours + 0.6 * colours.mean(axis=1, keepdims=True)).tolist()  # paint is not that bright
    horizon, left = (round(size * share) for share in random.uniform((0.5, 0.05), (0.75, 0.6)))
    image[:horizon], image[horizon:] = colours[0], colours[1]
    top, width = (round(size * share) for share in random.uniform((0.05, 0.15), (0.25, 0.35)))
    foot = horizon if random.random() < 0.4 else round(horizon * random.uniform(0.5, 0.8))  # a door reaches the floor
    cv2.rectangle(image, (left, top), (left + width, foot), colours[2], -1, cv2.LINE_AA)
    cv2.rectangle(image, (left, top), (left + width, foot), colours[3], max(size // 60, 1), cv2.LINE_AA)
    if random.random() < 0.7:
        left, width, height = (round(size * share) for share in random.uniform((0.0, 0.3, 0.1), (0.5, 0.5, 0.25)))
        seat = horizon + round(size * random.uniform(0.0, 0.15))
        cv2.rectangle(image, (left, seat - height), (left + width, seat + height // 3), colours[4], -1, cv2.LINE_AA)
        for end in (left, left + width):
            leg = max(size // 40, 1)
            cv2.rectangle(image, (end - leg, seat - height // 2), (end + leg, seat + height), colours[5], -1)


def _cat(pen: _Pen) -> None:
    for side in (-1, 1):
        pen.polygon([(side * 0.95, -0.2), (side * 0.8, -1.5), (side * 0.15, -0.8)], pen.fur)
        pen.polygon([(side * 0.8, -0.5), (side * 0.72, -1.2), (side * 0.35, -0.8)], (255, 170, 180))
    pen.ellipse((0, 0), (1, 0.9), pen.fur)
    for side in (-1, 1):
        pen.ellipse((side * 0.4, -0.15), (0.2, 0.24), (190, 220, 80))
        pen.ellipse((side * 0.4, -0.15), (0.06, 0.22), (10, 10, 10))
        for slope in (-0.15, 0.0, 0.15):
            pen.line((side * 0.3, 0.35 + slope), (side * 1.4, 0.3 + 2 * slope), (250, 250, 250))
    pen.polygon([(-0.14, 0.2), (0.14, 0.2), (0, 0.36)], (230, 120, 140))


def _dog(pen: _Pen) -> None:
    pen.ellipse((0, 0), (0.85, 1), pen.fur)
    for side in (-1, 1):
        pen.ellipse((side * 0.95, 0.1), (0.3, 0.85), pen.dark)
        pen.ellipse((side * 0.35, -0.3), (0.14, 0.14), (20, 20, 20))
        pen.ellipse((side * 0.35 + 0.05, -0.35), (0.04, 0.04), (255, 255, 255))
    pen.ellipse((0, 0.75), (0.2, 0.4), (230, 90, 110))
    pen.ellipse((0, 0.4), (0.5, 0.38), (235, 225, 210))
    pen.ellipse((0, 0.22), (0.2, 0.15), (15, 15, 15))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m catsdogs_edge.images.drawings")
    parser.add_argument("folder", type=Path)
    parser.add_argument("per_class", type=int)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--kind", action="append", choices=KINDS, help="may be given again; else both pets")
    parser.add_argument("--soft", action="store_true", help="like a photograph: a little out of focus")
    arguments = parser.parse_args()
    kinds = arguments.kind or PETS
    write_folder(arguments.folder, arguments.per_class, arguments.first_seed, kinds, soft=arguments.soft)
