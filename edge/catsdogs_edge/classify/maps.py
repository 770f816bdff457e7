"""Writes an image beside what each part of it says for the answer: `catsdogs-classify --maps`."""

from pathlib import Path

import cv2
import numpy as np

from catsdogs_edge.images.decode import RgbImage, decode
from catsdogs_edge.images.heatmap import draw_heatmap
from catsdogs_edge.images.jpeg import encode_jpeg
from catsdogs_edge.model.prediction import Prediction
from catsdogs_edge.output.files import check_writable, make_folder, write_errors
from catsdogs_edge.output.names import FreeNames, reserved

_LONGEST_EDGE = 640  # pixels of an image in it
_SHORTEST_EDGE = 160
_STRIP = 32  # pixels for the answer


class MapFolder:
    """A folder of such images: `NAME.jpg` or, where that is taken, `NAME (2).jpg`."""

    def __init__(self, folder: Path) -> None:
        """Makes the folder; raises `OutputError` where that cannot be."""
        make_folder(folder)
        check_writable(folder)
        self._folder = folder
        self._names = FreeNames()

    def write(self, name: str, data: bytes, prediction: Prediction) -> None:
        """Writes one.

        Args:
            name: Of the image, as its row has it.
            data: The encoded image.
            prediction: With maps.

        Raises:
            ImageError: The image has changed meanwhile, and is none any more.
            OutputError: It cannot be written.
        """
        if prediction.map is None:
            return
        image = _scale(decode(data))
        both = np.hstack([image, draw_heatmap(image, prediction.map)])
        strip = np.full((_STRIP, both.shape[1], 3), 24, np.uint8)
        cv2.putText(strip, str(prediction), (8, 22), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (255, 255, 255), 1, cv2.LINE_AA)
        names = self._names.candidates(self._folder / f"{Path(name).stem or 'image'}.jpg")
        with write_errors(self._folder), reserved(names) as path:
            path.write_bytes(encode_jpeg(np.vstack([both, strip]), 90))


def _scale(image: RgbImage) -> RgbImage:
    """Returns the image in a size to look at."""
    height, width = image.shape[:2]
    longest, shortest = max(height, width), min(height, width)
    scale = min(_LONGEST_EDGE / longest, 1.0) if shortest >= _SHORTEST_EDGE else _SHORTEST_EDGE / shortest
    scale = min(scale, 4 * _LONGEST_EDGE / longest)
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, size, interpolation=method), np.uint8)
