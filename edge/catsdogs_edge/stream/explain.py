"""Shows in a frame where its answers come from."""

import logging
from dataclasses import replace

from catsdogs_edge.errors import ModelError, ProviderError
from catsdogs_edge.images.heatmap import draw_heatmap
from catsdogs_edge.model.classifier import Classifier
from catsdogs_edge.stream.frame_result import FrameResult
from catsdogs_edge.stream.model_file import ReplaceableModel, current

_log = logging.getLogger(__name__)


class Explainer:
    """Draws heatmaps over frames, on demand: it asks the model once more, about that frame alone."""

    def __init__(self, model: Classifier | ReplaceableModel) -> None:
        self._model = model
        self._failed: Classifier | None = None

    @property
    def can_explain(self) -> bool:
        """Whether the model file has what it takes."""
        return self._classifier.has_maps

    @property
    def _classifier(self) -> Classifier:
        return current(self._model)[0]

    def explain(self, result: FrameResult) -> FrameResult:
        """Returns a result with what speaks for its smoothed label coloured in the frame, or in each region of it.

        The frame of the result stays as it is. One without an image, or that was not classified, is returned itself;
        and so is each where the model cannot say, which is logged once.
        """
        rgb, classifier = result.frame.rgb, self._classifier
        parts = [part for part in result.each() if part.label]
        if rgb is None or not parts or not classifier.has_maps or classifier is self._failed:
            return result
        drawn = rgb.copy()
        crops = [part.region.crop(drawn) if part.region else drawn for part in parts]
        try:
            predictions = classifier.classify(crops, maps=True)
        except (ModelError, ProviderError) as error:  # such as while its file is replaced
            _log.warning("It cannot be shown where answers come from: %s", error)
            self._failed = classifier
            return result
        for part, crop, prediction in zip(parts, crops, predictions, strict=True):
            if prediction.maps is not None:
                crop[:] = draw_heatmap(crop, prediction.maps.evidence(part.label))
        return replace(result, frame=replace(result.frame, rgb=drawn))
