"""Compares ways to tell images of neither from images of the classes, on the features of one run.

    python -m benchmarks.familiarity RUN --val DIR --other DIR

Kinds of things that were fitted with are never judged: half of them are for each, then the other way round. A kind is a
name without its number (`sofa_0031.jpg`). The published scores are from the sources that each row names.
"""

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated

import keras
import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from sklearn.metrics import roc_auc_score

from catsdogs_edge.classify.batching import load_files
from catsdogs_edge.errors import ImageError
from catsdogs_edge.images.discovery import find_images
from catsdogs_export.run_folder import RunFolder
from catsdogs_train.network.familiarity import fit_boundary, fit_distance
from catsdogs_train.network.features import make_extractor
from catsdogs_train.network.resnet import build_network

_KEEP = 0.98
_MOST = 2000

Values = NDArray[np.float64]
Score = Callable[[Values], Values]
"""From `Features` to scores."""


def main(
    run: Annotated[Path, typer.Argument(help="Run folder of catsdogs-train.")],
    val: Annotated[Path, typer.Option(help="Images of the classes, not trained on.")],
    other: Annotated[Path, typer.Option(help="Images of neither.")],
) -> None:
    """Prints the table."""
    folder = RunFolder.load(run)
    kernel, bias = folder.load_network().get_layer("logits").get_weights()
    size = folder.contract.image_size
    extractor = make_extractor(build_network(len(folder.contract.classes), str(folder.model), size))
    indices = np.random.default_rng(0).permutation(len(folder.train))[:_MOST]
    train_paths = [folder.train[index].path for index in indices]
    labels = np.array([folder.train[index].label for index in indices])
    train, _ = _features(extractor, train_paths, size)
    known, _ = _features(extractor, list(find_images([val])), size)
    unknown, unknown_paths = _features(extractor, list(find_images([other])), size)
    kinds = [re.sub(r"[_-]?\d+$", "", path.stem) for path in unknown_paths]
    half = np.array([sorted(set(kinds)).index(kind) % 2 for kind in kinds])
    table = Table("method", "images of neither to fit", "AUROC", f"refused at {_KEEP:.0%} kept")
    for name, with_others, fit in _methods(train, labels, kernel, bias):
        areas, shares = [], []
        for side in (0, 1):
            score = fit(unknown[half == side])
            familiar, unfamiliar = score(known), score(unknown[half != side])
            sides = np.repeat([1, 0], [len(familiar), len(unfamiliar)])
            areas.append(roc_auc_score(sides, np.concatenate([familiar, unfamiliar])))
            shares.append(float((unfamiliar < np.quantile(familiar, 1 - _KEEP)).mean()))
        table.add_row(name, "yes" if with_others else "no", f"{np.mean(areas):.4f}", f"{np.mean(shares):.1%}")
    Console(width=110).print(table)


def _features(extractor: keras.Model, paths: list[Path], size: int) -> tuple[Values, list[Path]]:
    read, parts = [], []
    for chunk in load_files(paths, size):
        images = [item for _, item in chunk if not isinstance(item, ImageError)]
        read += [path for path, item in chunk if not isinstance(item, ImageError)]
        if images:
            outputs = extractor(np.stack(images), training=False)
            parts.append(np.concatenate([np.asarray(output, np.float64) for output in outputs], axis=1))
    return np.concatenate(parts), read


def _methods(
    train: Values, labels: NDArray[np.int64], kernel: Values, bias: Values
) -> list[tuple[str, bool, Callable[[Values], Score]]]:
    """Returns name, whether it learns from images of neither, and what makes a score from those."""
    width = len(kernel)
    stages = {"conv5": slice(0, width), "conv4": slice(width, None), "conv4 + conv5": slice(0, None)}

    def logits(features: Values) -> Values:
        return np.asarray(features[:, :width] @ kernel + bias)

    top = float(np.quantile(train[:, :width], 0.9))
    energy: Callable[[Values], Values] = lambda values: np.asarray(np.logaddexp.reduce(values, axis=1))  # noqa: E731
    rows: list[tuple[str, bool, Callable[[Values], Score]]] = [
        ("largest probability (Hendrycks and Gimpel, 2017)", False, lambda _: lambda f: _largest(logits(f))),
        ("energy (Liu et al., 2020)", False, lambda _: lambda f: energy(logits(f))),
        (
            "ReAct, energy (Sun et al., 2021)",
            False,
            lambda _: lambda f: energy(logits(np.minimum(f, top))),
        ),
        ("ViM (Wang et al., 2022)", False, lambda _: _vim(train[:, :width], logits(train), logits)),
    ]
    for name, stage in stages.items():
        if name in {"conv4", "conv5"}:
            rows += [
                (f"10 nearest neighbours, {name} (Sun et al., 2022)", False, partial(_neighbours, train, stage)),
                (f"Mahalanobis to the nearest class, {name} (Lee et al., 2018)", False,
                 partial(_mahalanobis, train, labels, stage)),
                (f"Mahalanobis to one mean, {name}", False, partial(_distance, train, stage)),
            ]  # fmt: skip
        rows.append((f"logistic regression, {name}", True, partial(_boundary, train, stage)))
    return rows


def _distance(train: Values, stage: slice, _: Values) -> Score:
    detector = fit_distance(train[:, stage].astype(np.float32), 0)
    return lambda features: detector.score(features[:, stage].astype(np.float32))


def _boundary(train: Values, stage: slice, outliers: Values) -> Score:
    detector = fit_boundary(train[:, stage].astype(np.float32), outliers[:, stage].astype(np.float32))
    return lambda features: detector.score(features[:, stage].astype(np.float32))


def _largest(logits: Values) -> Values:
    return np.asarray(logits.max(axis=1) - np.logaddexp.reduce(logits, axis=1))


def _neighbours(train: Values, stage: slice, _: Values) -> Score:
    def unit(values: Values) -> Values:
        return np.asarray(values / np.linalg.norm(values, axis=1, keepdims=True))

    bank = unit(train[:, stage]).T
    return lambda features: np.asarray(np.partition(unit(features[:, stage]) @ bank, -10, axis=1)[:, -10])


def _mahalanobis(train: Values, labels: NDArray[np.int64], stage: slice, _: Values) -> Score:
    train = train[:, stage]
    means = [train[labels == label].mean(axis=0) for label in np.unique(labels)]
    rest = np.concatenate([train[labels == label] - mean for label, mean in zip(np.unique(labels), means, strict=True)])
    covariance = rest.T @ rest / len(rest)
    precision = np.linalg.inv(covariance + 0.1 * np.trace(covariance) / len(covariance) * np.eye(len(covariance)))

    def score(features: Values) -> Values:
        apart = [features[:, stage] - mean for mean in means]
        return np.asarray(-np.min([((values @ precision) * values).sum(axis=1) for values in apart], axis=0))

    return score


def _vim(train: Values, train_logits: Values, logits: Callable[[Values], Values]) -> Score:
    mean = train.mean(axis=0)
    _, axes = np.linalg.eigh(np.cov(train.T))
    residual = axes[:, : len(mean) // 2]  # the directions of least variance
    scale = train_logits.max(axis=1).mean() / np.linalg.norm((train - mean) @ residual, axis=1).mean()

    def score(features: Values) -> Values:
        virtual = scale * np.linalg.norm((features[:, : len(mean)] - mean) @ residual, axis=1)
        return np.asarray(np.logaddexp.reduce(logits(features), axis=1) - virtual)

    return score


if __name__ == "__main__":
    typer.run(main)
