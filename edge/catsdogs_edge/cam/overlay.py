"""Draws on a frame what is known about it."""

import cv2
import numpy as np

from catsdogs_edge.capture.frames import BgrImage, Frame, State, to_bgr
from catsdogs_edge.model.contract import NEITHER
from catsdogs_edge.model.prediction import percent
from catsdogs_edge.stream.frame_result import FrameResult

_WHITE = (255, 255, 255)
_GREY = (90, 90, 90)
_CALM = (170, 170, 170)
_BAR = (0, 159, 230)  # BGR of orange; these three are Okabe and Ito's, safe for colour-blind people
_GREEN, _RED = (115, 158, 0), (0, 94, 213)
_STATES = {State.LIVE: _GREEN, State.STALE: _BAR, State.LOST: _RED, State.RECONNECTING: _RED}
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_NO_IMAGE_YET = (480, 640, 3)


class Annotator:
    """Draws results one after the other, each once for all sinks; without an image, on the last one, dimmed."""

    def __init__(self, provider: str) -> None:
        self.provider = provider.removesuffix("ExecutionProvider")
        self._last: BgrImage = np.zeros(_NO_IMAGE_YET, np.uint8)
        self._result: FrameResult | None = None
        self._plain: BgrImage | None = None

    def see(self, frame: Frame) -> None:
        """Remembers a frame with an image: what comes without one is drawn on it."""
        if frame.rgb is not None:
            self._last = to_bgr(frame.rgb)

    def annotate(self, result: FrameResult, *, mirrored: bool = False, note: str = "") -> BgrImage:
        """Draws label, probability and bar along the lower edge; state, provider, fps and latency along the upper.

        Returns uint8 BGR, shape (H, W, 3), the size of the frame or of the last one. Others get it, too: do not change
        it. `mirrored` turns the image and not the words; `note` stands in place of the state.
        """
        if result is not self._result:
            self.see(result.frame)
            self._result, self._plain = result, None
        if mirrored or note:
            return self._draw(result, mirrored=mirrored, note=note)
        if self._plain is None:
            self._plain = self._draw(result)
        return self._plain

    def _draw(self, result: FrameResult, *, mirrored: bool = False, note: str = "") -> BgrImage:
        image = cv2.flip(self._last, 1) if mirrored else self._last.copy()
        if result.smoothed is None:
            image //= 3
        sheet = _Sheet(np.asarray(image, np.uint8))
        for part in result.regions:
            sheet.region(part, mirrored=mirrored, is_named=len(result.regions) > 1)
        sheet.bottom(result)
        state, running = result.frame.state, self.provider
        if result.source:
            running = f"{result.source}  {running}"
        if result.moving is False:
            running += "  nothing moves"
        if result.prediction:
            running += f"  {result.fps:.0f} fps  {result.latency_ms:.0f} ms"
        is_file = state is State.LIVE and result.frame.is_recorded
        sheet.top(note or ("FILE" if is_file else state.value.upper()), _STATES[state], running)
        return sheet.image


class _Sheet:
    """An image, and lengths for a frame of 640 x 480."""

    def __init__(self, image: BgrImage) -> None:
        self.image = image
        self.height, self.width = image.shape[:2]
        self.unit: float = max(min(self.height, self.width * 3 / 4), 240) / 480

    def scaled(self, length: float) -> int:
        """Returns a length in pixels of this image."""
        return round(length * self.unit)

    def bottom(self, result: FrameResult) -> None:
        """Draws the answer, or the reason why there is none."""
        self.image[max(self.height - self.scaled(64), 0) :] //= 4
        margin, base = self.scaled(16), self.height - self.scaled(28)
        smoothed = result.smoothed
        if smoothed is None:
            self.text(self.fitted(result.frame.error, self.width - 2 * margin, 0.6), margin, base, 0.6, _WHITE)
            return
        if smoothed.label == NEITHER:  # what a camera sees most of the time: nothing to look at
            self.text(NEITHER, margin, base, 1.0, _CALM)
            return
        end = self.text(smoothed.label, margin, base, 1.0, _WHITE)
        self.text(percent(smoothed.probability).strip(), end + margin, base, 0.8, _BAR)
        upper, lower = self.height - self.scaled(18), self.height - self.scaled(8)
        full = self.width - 2 * margin
        cv2.rectangle(self.image, (margin, upper), (margin + full, lower), _GREY, -1)
        cv2.rectangle(self.image, (margin, upper), (margin + round(full * smoothed.probability), lower), _BAR, -1)

    def region(self, part: FrameResult, *, mirrored: bool, is_named: bool) -> None:
        """Draws the edge of a region, and its answer where there are others."""
        if part.region is None or not part.region.fits(self.width, self.height):  # such as of a damaged frame
            return
        left, top, right, bottom = part.region.box(self.width, self.height)
        if mirrored:
            left, right = self.width - right, self.width - left
        seen = part.smoothed is not None and part.smoothed.label != NEITHER
        colour = _BAR if seen else _CALM
        thickness = max(self.scaled(2), 1)
        cv2.rectangle(self.image, (left, top), (right - 1, bottom - 1), colour, thickness)
        if is_named:
            margin = self.scaled(8)
            words = f"{part.region.name}: {part.label}" if part.smoothed else part.region.name
            words = self.fitted(words, right - left - 2 * margin, 0.55)
            upper = max(top, self.scaled(32))
            end = left + 2 * margin + self.text_width(words, 0.55)
            self.image[upper : upper + self.scaled(28), left:end] //= 4  # readable on whatever is behind
            self.text(words, left + margin, upper + self.scaled(20), 0.55, _BAR if seen else _WHITE)

    def top(self, state: str, colour: tuple[int, int, int], running: str) -> None:
        """Draws the state of the source, and what the model runs on."""
        self.image[: self.scaled(32)] //= 4
        margin, base, radius = self.scaled(16), self.scaled(22), max(self.scaled(6), 1)
        cv2.circle(self.image, (margin + radius, base - radius), radius, colour, -1, cv2.LINE_AA)
        self.text(state, 2 * margin + radius, base, 0.55, _WHITE)
        width = self.text_width(running, 0.55)
        self.text(running, self.width - margin - width, base, 0.55, _WHITE)

    def text(self, words: str, x: int, y: int, scale: float, colour: tuple[int, int, int]) -> int:
        """Writes words with their base line at (x, y); returns where they end."""
        thickness = max(1, round(2 * scale * self.unit))
        cv2.putText(self.image, words, (x, y), _FONT, scale * self.unit, colour, thickness, cv2.LINE_AA)
        return x + self.text_width(words, scale)

    def fitted(self, words: str, width: int, scale: float) -> str:
        """Returns the words without what is wider than `width` pixels."""
        if self.text_width(words, scale) <= width:
            return words
        while words and self.text_width(f"{words}...", scale) > width:
            words = words[:-1]
        return f"{words}..."

    def text_width(self, words: str, scale: float) -> int:
        """Returns the width of words in pixels."""
        thickness = max(1, round(2 * scale * self.unit))
        size, _ = cv2.getTextSize(words, _FONT, scale * self.unit, thickness)
        return int(size[0])
