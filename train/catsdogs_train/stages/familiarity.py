"""The last stage: learns to tell images of the classes from others, with the network as it is now."""

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from catsdogs_edge.images.decode import RgbBatch, load_batch
from catsdogs_edge.model.contract import NEITHER, has_neither
from catsdogs_train.data.arrays import read_array
from catsdogs_train.data.audit import group_near_copies
from catsdogs_train.data.blank_frames import draw_blank_frames
from catsdogs_train.data.outliers import FOLDS, HELD_OUT
from catsdogs_train.data.split import ENOUGH, Sample
from catsdogs_train.network.familiarity import (
    FEATURES_IN_WORDS,
    Detector,
    FamiliarityFit,
    OutputLayer,
    Values,
    fit_boundary,
    fit_distance,
    held_out_scores,
)
from catsdogs_train.network.features import Features, extract_features
from catsdogs_train.run.history import Stage
from catsdogs_train.settings import Settings
from catsdogs_train.stages.context import TrainingContext, make_batches
from catsdogs_train.stages.head import compute_val_features
from catsdogs_train.views.augmentation import Recipe
from catsdogs_train.views.batches import ImageBatches, draw_order

_log = logging.getLogger(__name__)

_SOFTENED = Recipe(soft=0.25)  # so that neither side is known by its sharpness, in which cameras and archives differ
_MOST = 6000  # images of the classes, drawn at random: more take time and memory, and change little
_BLANK = 240  # frames that show nothing, as cameras deliver them


def learn_familiarity(context: TrainingContext) -> FamiliarityFit | None:
    """Fits a detector to the network as it is now; None where a class is called `NEITHER`."""
    if has_neither(context.split.classes):
        _log.info("there is a class '%s', so no familiarity is learned", NEITHER)
        return None
    others = f"{len(context.outliers)} images of neither" if context.outliers else "no images of neither"
    _log.info("learning what is familiar, with %s", others)
    extractor = context.make_extractor()

    def extract(batches: ImageBatches | RgbBatch) -> Features:
        if isinstance(batches, ImageBatches):
            context.remember_batches(batches)
        return extract_features(extractor, batches, [context.progress.callback("familiarity")], context.distribution)

    if context.settings.views and context.state.history[-1].stage is Stage.HEAD:  # computed already, most likely
        compute_val_features(context, extractor)
        val_features = np.array(read_array(context.checkpoint.features_file("val")))
    else:
        val_features = extract(context.val_images)
    return fit_familiarity(
        context.settings,
        context.split.train,
        context.outliers,
        val_features,
        OutputLayer(*context.network.get_layer("logits").get_weights()),
        extract,
        judging=[HELD_OUT] if context.has_exposed else range(FOLDS),
        is_tuned=context.state.history[-1].stage is not Stage.HEAD or context.settings.weights.endswith(".keras"),
    )


@dataclass(frozen=True, slots=True)
class _Threshold:
    """How familiar an image of the classes has to be."""

    keep: float
    """Share of them that must not be taken for neither."""
    val_features: Features
    """Of the validation images, as the detector takes them."""
    is_tuned: bool
    """Whether the network knows the training images too well."""

    def set(self, detector: Detector, held_out: Values) -> Detector:
        """Sets it by validation images, and by scores of training images that were held out in turn: each are kept.

        Where the first are few, all set it together; but not where the network knows the second too well.
        """
        val = detector.score(self.val_features)
        kinds = [np.concatenate([val, held_out])] if len(val) < ENOUGH and not self.is_tuned else [val, held_out]
        return detector.with_threshold_for(self.keep, *kinds)


def fit_familiarity(
    settings: Settings,
    samples: Sequence[Sample],
    outliers: Sequence[Sample],
    val_features: Features,
    layer: OutputLayer,
    extract: Callable[[ImageBatches | RgbBatch], Features],
    *,
    judging: Iterable[int] = range(FOLDS),
    is_tuned: bool = False,
) -> FamiliarityFit:
    """Learns to tell images of the classes from others.

    Args:
        settings: Of the training.
        samples: Training images, of which `_MOST` are taken, at random.
        outliers: Images of neither, labelled with their folds; without any, what is far from the training images is
            not familiar.
        val_features: Of the validation images, (N, W + E), which set the threshold.
        layer: The output layer, which gets the first W features.
        extract: Returns the features of images.
        judging: Folds of the outliers that say how many are refused.
        is_tuned: The backbone learned from the training images, here or in an earlier run. They are more familiar to
            it than others, and the output layer is sure of them: so the largest logit is weighed beside the features.
    """
    chosen = [samples[index] for index in np.sort(draw_order(settings.seed, 0, len(samples))[:_MOST])]
    has_largest = is_tuned and bool(outliers)

    def look(batches: ImageBatches | RgbBatch) -> Features:
        return layer.add_largest(extract(batches)) if has_largest else extract(batches)

    judges = layer.add_largest(val_features) if has_largest else val_features
    threshold = _Threshold(settings.keep, judges, is_tuned)
    refused: list[Values] = []
    if outliers:
        learn = partial(fit_boundary, read=f"{FEATURES_IN_WORDS} and the largest logit") if is_tuned else fit_boundary
        detector, refused = _fit_with_outliers(settings, chosen, outliers, look, learn, threshold, judging)
    else:
        features = look(make_batches(settings, chosen))
        fit_near = partial(fit_distance, head_width=len(layer.kernel))
        groups = group_near_copies([sample.path for sample in chosen])
        detector = threshold.set(fit_near(features), held_out_scores(fit_near, features, groups))
    return FamiliarityFit(
        detector=detector,
        target_recall=settings.keep,
        outliers=len(outliers),
        val_scores=detector.score(judges),
        outlier_scores=np.concatenate([*refused, []]),
    )


def _fit_with_outliers(
    settings: Settings,
    chosen: Sequence[Sample],
    outliers: Sequence[Sample],
    look: Callable[[ImageBatches | RgbBatch], Features],
    learn: Callable[[Features, Features], Detector],
    threshold: _Threshold,
    judging: Iterable[int],
) -> tuple[Detector, list[Values]]:
    """Learns the boundary between images of the classes and others; returns the scores of each fold that judges, too.

    Half of the images of the classes are shown as they are, half in a random sharpness; each outlier in both ways.
    Frames that show nothing are beside them.
    """
    plain, soft = chosen[::2], chosen[1::2]
    halves = make_batches(settings, plain), make_batches(settings, soft, _SOFTENED)
    features = np.concatenate([look(half) for half in halves])
    blurred = load_batch([item.path for item in chosen[:: max(len(chosen) // _BLANK, 1)]], settings.input_size)
    blank = look(draw_blank_frames(_BLANK, settings.input_size, settings.seed, list(blurred)))
    views = [look(make_batches(settings, outliers, recipe)) for recipe in (None, _SOFTENED)]
    every = np.concatenate([blank, *views])
    groups = group_near_copies([sample.path for sample in (*plain, *soft)])
    held_out = held_out_scores(lambda part: learn(part, every), features, groups)

    def fit(indices: NDArray[np.intp]) -> Detector:
        some = np.concatenate([blank, *(view[indices] for view in views)])
        return threshold.set(learn(features, some), held_out)

    # The label of an image of neither is its fold.
    folds = np.array([sample.label for sample in outliers])
    # Each fold is judged by what was learned from the rest.
    scores = [fit(np.flatnonzero(folds != fold)).score(views[0][folds == fold]) for fold in judging]
    return fit(np.arange(len(outliers))), scores
