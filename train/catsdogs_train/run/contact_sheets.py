"""Shows images: how they are augmented, and those that the network is surely wrong about."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from catsdogs_edge.errors import ImageError
from catsdogs_edge.images.decode import RgbImage, read, resize
from catsdogs_edge.images.heatmap import draw_heatmap
from catsdogs_edge.model.class_maps import class_evidence
from catsdogs_edge.model.scores import Scores
from catsdogs_train.data.split import Sample, Split
from catsdogs_train.network.features import make_mapper
from catsdogs_train.run.plots import plot_images
from catsdogs_train.settings import Settings
from catsdogs_train.views.augmentation import PUBLISHED, STRONG, Recipe, make_view

_SHOWN_VIEWS, _SHOWN_WRONG, _COLUMNS, _THUMBNAIL = 5, 18, 3, 160


@dataclass(frozen=True, slots=True)
class Wrong:
    """A wrong answer."""

    sample: Sample
    label: str
    answer: str
    probability: float
    """Its probability, 0 to 1."""
    part: str = "val"
    """`val`, or `train`: there, the answer is that of what was learned from other images than this one."""


@dataclass(frozen=True, slots=True)
class _Shown:
    """What a stage of training was shown of each image."""

    name: str
    recipe: Recipe
    size: int
    """Edge length of the views."""
    first: int
    """Number of its first view."""
    count: int


def plot_views(settings: Settings, split: Split, path: Path) -> None:
    """Draws a training image of up to four classes, and the views of it that were learned from, to a PNG file."""
    first = {sample.label: index for index, sample in reversed(list(enumerate(split.train)))}
    stages: list[_Shown] = []
    if not settings.teacher:
        views = min(settings.views or settings.head_epochs, settings.head_epochs)
        stages.append(_Shown("head", PUBLISHED, settings.input_size, 0, views))
    if settings.tuning_epochs:
        name, start = ("distillation", 0) if settings.teacher else ("fine-tuning", settings.head_epochs)
        stages.append(_Shown(name, STRONG, settings.view_size, start, settings.tuning_epochs))
    rows = []
    for label, index in sorted(first.items())[:4]:
        image = _load(split.train[index], settings.input_size)
        if image is not None:
            rows += [
                [(f"{split.classes[label]}, as it is", image), *_views(image, index, settings.seed, stage)]
                for stage in stages
            ]
    if rows:
        plot_images(rows, "What the network is shown of an image", path)


def _views(image: RgbImage, index: int, seed: int, stage: _Shown) -> list[tuple[str, RgbImage]]:
    return [
        (
            f"{stage.name}, view {number + 1}",
            make_view(image, seed, stage.first + number, index, stage.recipe, stage.size),
        )
        for number in range(min(stage.count, _SHOWN_VIEWS))
    ]


def find_wrong(
    samples: Sequence[Sample], probabilities: Scores, classes: Sequence[str], part: str = "val", least: float = 0.0
) -> list[Wrong]:
    """Lists the wrong answers of at least that probability, surest first: look at their labels."""
    truth = np.array([sample.label for sample in samples])
    labels, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
    wrong = np.flatnonzero((labels != truth) & (confidence >= least))
    return [
        Wrong(samples[index], classes[truth[index]], classes[labels[index]], float(confidence[index]), part)
        for index in wrong[np.argsort(-confidence[wrong], kind="stable")]
    ]


def plot_worst(wrong: Sequence[Wrong], network: keras.Model, classes: Sequence[str], size: int, path: Path) -> None:
    """Draws the surest of the wrong answers, beside what speaks for them, to a PNG file; nothing where there is none.

    `size` is the edge length of the network's input, in pixels.
    """
    shown = []
    mapper = make_mapper(network)
    for item in wrong[:_SHOWN_WRONG]:
        image = _load(item.sample, size)
        if image is not None:
            image = _explain(image, mapper, classes.index(item.answer))
            name = item.sample.path.name
            short = name if len(name) <= 24 else f"{name[:10]}...{name[-11:]}"
            shown.append((f"{item.answer} {item.probability:.1%}, not {item.label}\n{short}", image))
    if shown:
        rows = [shown[start : start + _COLUMNS] for start in range(0, len(shown), _COLUMNS)]
        plot_images(rows, f"Wrong and sure: {len(shown)} of {len(wrong)}. Are these labels right?", path)


def _explain(image: RgbImage, mapper: keras.Model, answer: int) -> RgbImage:
    """Puts beside an image what each part of it says for an answer against the others."""
    (maps,) = np.asarray(mapper(image[np.newaxis], training=False), np.float32)
    evidence = class_evidence(maps, answer, axis=2)
    small = resize(image, _THUMBNAIL)
    return np.hstack([small, draw_heatmap(small, evidence)])


def _load(sample: Sample, size: int) -> RgbImage | None:
    """Reads an image again; it may be gone by the end of a long training, and that shall not cost the report."""
    try:
        return resize(read(sample.path), size)
    except ImageError:
        return None
