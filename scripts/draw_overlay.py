"""Draws images of README.md and docs/cameras.md: what `catsdogs-cam` shows of drawings, still and moving.

Needs the extra `test`, for Pillow: python scripts/draw_overlay.py
"""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from catsdogs_edge.cam.overlay import Annotator
from catsdogs_edge.capture.frames import BgrImage, Frame, State
from catsdogs_edge.images.decode import RgbImage
from catsdogs_edge.images.drawings import KINDS, draw_soft
from catsdogs_edge.model.bundled import MODEL
from catsdogs_edge.model.classifier import Classifier
from catsdogs_edge.stream.frame_result import FrameResult
from catsdogs_edge.stream.pipeline import FrameClassifier

_OUT = Path(__file__).resolve().parents[1] / "docs" / "images"
_SEED, _SIZE = 3, 480
_FPS = 10  # frames a second of the moving image
_TURN = 4  # frames that the camera takes to turn
_CABLE = "no frame for 12 s: is the camera still plugged in?"
_DAY = (  # what the camera sees, in which state, for how many seconds
    ("cat", State.LIVE, 1.6),
    ("room", State.LIVE, 1.4),
    ("", State.LOST, 1.0),
    ("", State.RECONNECTING, 0.7),
    ("dog", State.LIVE, 1.3),
)


def main() -> None:
    """Writes docs/images/overlay.png and docs/images/overlay.webp."""
    classifier = Classifier.load(MODEL)
    stills = [_annotate(classifier, ((kind, State.LIVE, 1.0),))[-1] for kind in KINDS]
    cv2.imwrite(str(_OUT / "overlay.png"), np.hstack(stills))
    moving = [Image.fromarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB)) for image in _annotate(classifier, _DAY)]
    each = 1000 // _FPS  # milliseconds
    moving[0].save(_OUT / "overlay.webp", save_all=True, append_images=moving[1:], duration=each, loop=0, quality=80)


def _annotate(classifier: Classifier, day: Sequence[tuple[str, State, float]]) -> list[BgrImage]:
    """Returns what the window shows, frame by frame."""
    frames, annotator = FrameClassifier(classifier), Annotator(classifier.provider)
    return [annotator.annotate(_see(frames, frame)) for frame in _frames(day)]


def _see(frames: FrameClassifier, frame: Frame) -> FrameResult:
    time.sleep(1 / _FPS)  # the rate that is shown is the one that was
    return frames.classify(frame)


def _frames(day: Sequence[tuple[str, State, float]]) -> Iterator[Frame]:
    """Yields what a camera sees that turns from one thing to the next."""
    before: RgbImage | None = None
    for kind, state, seconds in day:
        image = _draw(kind) if kind else None
        for index in range(round(seconds * _FPS)):
            if image is None:
                yield Frame(number=0, rgb=None, state=state, error=_CABLE)
            else:
                turned = min((index + 1) / _TURN, 1) if before is not None else 1
                strip = image if before is None else np.hstack([before, image])
                left = strip.shape[1] - _SIZE - round((1 - turned) * _SIZE)
                yield Frame(number=0, rgb=np.ascontiguousarray(strip[:, left : left + _SIZE]), state=state)
        before = image


def _draw(kind: str) -> RgbImage:
    return draw_soft(kind, _SEED, _SIZE)


if __name__ == "__main__":
    main()
