"""Classifies the frames of a camera or video, one after the other."""

import time
from collections.abc import Sequence
from itertools import islice

import cv2
import numpy as np

from catsdogs_edge.classifier import Classifier
from catsdogs_edge.sinks import Sighting, Sink
from catsdogs_edge.sources import VideoSource


def watch(classifier: Classifier, source: VideoSource, sinks: Sequence[Sink], *, limit: int | None = None) -> int:
    """Classifies frames until the source ends, a sink asks to stop, or `limit` is reached.

    Args:
        classifier: The model.
        source: An open camera or video file.
        sinks: Where each classified frame goes; closed at the end, whatever happens.
        limit: Number of frames; None for all.

    Returns:
        The number of classified frames.

    Raises:
        SourceError: A camera stopped delivering, or the file holds no frame.
    """
    count = 0
    try:
        for frame in islice(source, limit):
            start = time.perf_counter()
            rgb = np.asarray(cv2.cvtColor(frame.bgr, cv2.COLOR_BGR2RGB), np.uint8)
            (prediction,) = classifier.classify([rgb])
            sighting = Sighting(frame, prediction, 1000 * (time.perf_counter() - start))
            count += 1
            go_on = [sink.write(sighting) for sink in sinks]  # all of them, before one ends the loop
            if not all(go_on):
                break
    finally:
        for sink in sinks:
            sink.close()
    return count
