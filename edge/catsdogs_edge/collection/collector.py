"""Keeps the frames from which a model would learn the most: where it is not sure, where it wavers, what is new."""

import logging
import os
import random
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

from catsdogs_edge.collection.folder import ENDING, read_seen
from catsdogs_edge.images.jpeg import encode_jpeg
from catsdogs_edge.images.similarity import SeenImages, thumbnail
from catsdogs_edge.model.info import ModelInfo
from catsdogs_edge.model.prediction import Prediction
from catsdogs_edge.output.files import sync, write_errors
from catsdogs_edge.output.json_text import to_json
from catsdogs_edge.output.names import FreeNames
from catsdogs_edge.output.quota import Quota, timed_name, write_whole
from catsdogs_edge.stream.frame_result import FrameResult, to_row
from catsdogs_edge.stream.regions import Region

_log = logging.getLogger(__name__)

NEAR_THRESHOLD = 0.2
"""Familiarity that is no further than this from the threshold is doubtful."""

COLLECT_BELOW = 0.9
"""A class with a lower probability is doubtful."""

SECONDS_BETWEEN = 5.0
"""Seconds between two frames of one view that are kept for one reason; the first of a visit is always looked at."""

SECONDS_BETWEEN_LOOKS = 0.5
"""Seconds between two frames of one view that are compared with what was collected: that takes a millisecond."""

BY_LOT = 900.0
"""Mean seconds between two frames that are kept for no reason: what the model is sure of may be wrong, too."""

_QUALITY = 92


class Reason(StrEnum):
    """Why a frame was collected."""

    VISIT = "visit"
    """The first of a visit of a class."""
    WAVERING = "wavering"
    """The frame's label is another one than the smoothed label."""
    FAMILIARITY = "familiarity"
    """Its familiarity is near the threshold: it may be one of the classes, or neither."""
    PROBABILITY = "probability"
    """Its class has a low probability."""
    NEW = "new"
    """It is unlike all that was collected: the model may be sure, and wrong, of what it does not know."""
    LOT = "lot"
    """It was drawn at random."""


@dataclass(slots=True)
class _View:
    """What was seen in a source, or a region of it."""

    label: str = ""
    looked: float = -SECONDS_BETWEEN
    kept: dict[Reason, float] = field(default_factory=dict)
    by_lot: float | None = None
    """When the next one is kept, on the clock of the frames."""


class Collector:
    """Writes `20261127-073012-cat.jpg`, as it came from the camera, and `.json`, its row, with the reason.

    Of a region, its part of the frame. Near copies of what is in the folder are left out.
    """

    def __init__(
        self, quota: Quota, info: ModelInfo, threshold: Callable[[], float | None], seed: int | None = None
    ) -> None:
        """Takes the folder with its quota, and what `Classifier.threshold` is now; `seed` is for lots."""
        self._quota = quota
        self._classes = info.classes
        self._constant = info.row_fields()
        self._threshold = threshold
        self._random = random.Random(seed)  # noqa: S311 - nothing is secret
        self._views: dict[tuple[str, Region | None], _View] = {}
        self._seen = SeenImages(read_seen(quota.folder))
        self._names = FreeNames()
        self._count = 0

    def write(self, result: FrameResult) -> bool:
        """Takes a result; never asks to stop. Raises `OutputError` where an image cannot be written."""
        self._quota.look()
        for part in result.each():
            view = self._views.setdefault((part.source, part.region), _View())
            reason = self._reason(view, part)
            view.label = part.label
            if reason is not None and self._keep(part, reason):
                view.kept[reason] = part.frame.clock
        return True

    def _reason(self, view: _View, part: FrameResult) -> Reason | None:
        """Returns why to keep a frame; None for most."""
        prediction, now = part.prediction, part.frame.clock
        if prediction is None or part.frame.rgb is None:
            return None
        if view.by_lot is None:
            view.by_lot = now + self._random.expovariate(1 / BY_LOT)
        if part.shows_class and part.label != view.label:
            return Reason.VISIT
        if now >= view.by_lot:
            view.by_lot = now + self._random.expovariate(1 / BY_LOT)
            return Reason.LOT
        if part.frame.path:  # images have nothing to do with one another
            return self._doubt(prediction, part.label) or Reason.NEW
        if 0 <= now - view.looked < SECONDS_BETWEEN_LOOKS:
            return None
        view.looked = now
        reason = self._doubt(prediction, part.label) or Reason.NEW
        return None if 0 <= now - view.kept.get(reason, -SECONDS_BETWEEN) < SECONDS_BETWEEN else reason

    def _doubt(self, prediction: Prediction, smoothed: str) -> Reason | None:
        """Returns what is doubtful about an answer; None for nothing."""
        familiarity, threshold = prediction.familiarity, self._threshold()
        if familiarity is not None and threshold is not None and abs(familiarity - threshold) < NEAR_THRESHOLD:
            return Reason.FAMILIARITY
        if prediction.label != smoothed:
            return Reason.WAVERING
        if prediction.label in prediction.probabilities and prediction.probability < COLLECT_BELOW:
            return Reason.PROBABILITY
        return None

    def _keep(self, part: FrameResult, reason: Reason) -> bool:
        """Writes a frame; returns False for a near copy of one that was kept."""
        rgb = part.frame.rgb
        if rgb is None:
            return False
        image = part.region.crop(rgb) if part.region else rgb
        small = thumbnail(image)
        if self._seen.has_near_copy(small):
            return False
        self._seen.add(small)
        about = {"reason": reason.value, "thumbnail": b64encode(small).decode()}
        row = to_row(part, self._classes, self._constant) | about
        data, text = encode_jpeg(image, _QUALITY), (to_json(row) + "\n").encode()
        self._quota.make_room(len(data) + len(text))
        region = part.region.name if part.region else ""
        name = timed_name(part.frame.time, part.source, region, part.label or "x")
        wanted = self._quota.folder / f"{name}-{part.frame.number}{ENDING}"
        path = next(path for path in self._names.candidates(wanted) if not os.path.lexists(path))
        with write_errors(self._quota.folder):
            for target, content in ((path.with_suffix(".json"), text), (path, data)):  # an image is there with its row
                write_whole(target, content)
            sync(self._quota.folder)
        self._count += 1
        return True

    def close(self) -> None:
        """Says how many were collected."""
        _log.info("Images collected in %s: %d.", self._quota.folder, self._count)
