"""A part of what a camera sees, such as the cat flap without the street behind it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from catsdogs_edge.errors import SourceError
from catsdogs_edge.images.decode import RgbImage

Box = tuple[int, int, int, int]
"""Left, top, right, bottom, in pixels; right and bottom are the first that are outside."""

_NUMBER = r"(\d{1,5}(?:\.\d+)?|\.\d+)"
_TEXT = re.compile(rf"(?:([^=,]{{1,64}})=)?{_NUMBER},{_NUMBER},{_NUMBER},{_NUMBER}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """A rectangle, in pixels or in shares of width and height."""

    name: str
    left: float
    top: float
    width: float
    height: float

    @classmethod
    def parse(cls, text: str) -> "Region":
        """Reads `X,Y,W,H` or `NAME=X,Y,W,H`, pixels or, where none is above 1, shares; raises `ValueError`."""
        match = _TEXT.fullmatch(text.strip())
        numbers = [float(number) for number in match.groups()[1:]] if match else []
        if match is None or not (numbers[2] > 0 and numbers[3] > 0):
            raise ValueError(
                f"'{text}' is no region, expected [NAME=]X,Y,W,H in pixels or in shares of the frame, such as "
                "flap=200,120,240,240 or 0,0.5,1,0.5"
            )
        region = cls(
            name=(match[1] or "").strip(), left=numbers[0], top=numbers[1], width=numbers[2], height=numbers[3]
        )
        if region.is_shares and (region.left + region.width > 1.0001 or region.top + region.height > 1.0001):
            raise ValueError(f"'{text}' reaches beyond the frame: X and W, Y and H may add up to 1")
        if not region.is_shares and not all(number.is_integer() for number in numbers):
            raise ValueError(f"'{text}' has parts of pixels: give whole numbers, or shares of which none is above 1")
        return region

    @classmethod
    def parse_all(cls, texts: Sequence[str]) -> tuple["Region", ...]:
        """Reads several, of which each has a name of its own; raises `ValueError`."""
        regions = tuple(map(cls.parse, texts))
        names = [region.name for region in regions]
        if len(regions) > 1 and (not all(names) or len(set(names)) < len(names)):
            raise ValueError("several regions need different names, such as --crop flap=0,0,200,200 --crop bowl=...")
        return regions

    @property
    def is_shares(self) -> bool:
        """Whether the numbers are shares of the frame, 0 to 1."""
        return max(self.left, self.top, self.width, self.height) <= 1

    def box(self, width: int, height: int) -> Box:
        """Returns where it lies in a frame of that size; raises `SourceError` where it does not."""
        across, down = (width, height) if self.is_shares else (1, 1)
        left, top = round(self.left * across), round(self.top * down)
        right, bottom = round((self.left + self.width) * across), round((self.top + self.height) * down)
        if right > width or bottom > height or right <= left or bottom <= top:
            raise SourceError(
                f"the region {self.describe()} does not lie in the frames, which have {width}x{height} pixels"
            )
        return left, top, right, bottom

    def fits(self, width: int, height: int) -> bool:
        """Returns whether it lies in a frame of that size."""
        try:
            self.box(width, height)
        except SourceError:
            return False
        return True

    def crop(self, rgb: RgbImage) -> RgbImage:
        """Returns that part of uint8 RGB (H, W, 3), in the same memory; raises what `box` raises."""
        left, top, right, bottom = self.box(rgb.shape[1], rgb.shape[0])
        return rgb[top:bottom, left:right]

    def describe(self) -> str:
        """Returns it as `parse` reads it."""
        numbers = ",".join(f"{number:g}" for number in (self.left, self.top, self.width, self.height))
        return f"{self.name}={numbers}" if self.name else numbers
