"""Finds images that show none of the classes."""

import logging
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from catsdogs_edge.errors import DataError
from catsdogs_edge.images.discovery import find_in_folder
from catsdogs_edge.output.terminal import counted
from catsdogs_train.data.audit import examine
from catsdogs_train.data.split import Quarantined, Sample

_log = logging.getLogger(__name__)

FEWEST = 20
"""Images of neither that something can be learned from."""

MOST = 2000
"""Images of neither that are looked at, drawn at random."""

FOLDS = 5
"""Parts of the images of neither, each judged by what was learned from the rest."""

HELD_OUT = 0
"""The part that a network never sees while it learns, where it sees the others: it judges, then."""

_MOST_OF_ALL = 0.4  # with a larger share of the images in one folder, it is no kind among several
_SHARE, _MOST_REPEATS = 0.1, 8  # of the training images; and how often each is shown in an epoch, to get there


def find_outliers(
    folders: Sequence[Path], samples: Sequence[Sample], seed: int
) -> tuple[list[Sample], list[Quarantined]]:
    """Finds images of neither that can be read and are not among `samples`, at most `MOST` of them, at random.

    Those of the first folder go first: they are new.

    Returns the images, each labelled with its fold, and what was left out and why. Raises `DataError` where there are
    too few.
    """
    for folder in folders:
        if not folder.is_dir():
            raise DataError(
                f"--other {folder}: no such folder (expected one with images that show none of the classes)"
            )
    known = {sample.sha256 for sample in samples}
    seen: dict[str, Path] = {}
    left_out = []
    drawn = list(_draw(folders, seed))
    for path, finding in zip(drawn, examine(drawn), strict=True):
        if finding.problem:
            left_out.append(Quarantined(path, finding.problem))
        elif finding.sha256 in known:
            left_out.append(Quarantined(path, "in --other, and an image of a class as well"))
        elif finding.sha256 in seen:
            left_out.append(Quarantined(path, f"the same file as {seen[finding.sha256]}"))
        else:
            seen[finding.sha256] = path
    if len(seen) < FEWEST:
        raise DataError(
            f"--other {', '.join(map(str, folders))} holds {counted(len(seen), 'image')} to read in no class, "
            f"expected at least {FEWEST}"
        )
    folds = _folds(list(seen.values()))
    return [Sample(path, fold, digest) for (digest, path), fold in zip(seen.items(), folds, strict=True)], left_out


def exclude_held_out(outliers: Sequence[Sample]) -> list[Sample]:
    """Returns the images of neither that a network may learn from."""
    return [sample for sample in outliers if sample.label != HELD_OUT]


def choose_exposed(outliers: Sequence[Sample], train_count: int, *, all_of_them: bool = False) -> list[Sample]:
    """Chooses the images of neither that a network sees in an epoch: a tenth as many as there are to train.

    Where there are more, those of all folders alike, or `all_of_them`; where there are fewer, each several times.
    """
    shown = exclude_held_out(outliers)
    count = min(math.ceil(_SHARE * train_count), _MOST_REPEATS * len(shown))
    if all_of_them:
        count = max(count, len(shown))
    rounds, rest = divmod(count, max(len(shown), 1))
    return shown * rounds + [shown[index * len(shown) // rest] for index in range(rest)]


def _draw(folders: Sequence[Path], seed: int) -> Iterator[Path]:
    """Yields `MOST` images at most, in the order of the folders, and in order in each."""
    left = MOST
    for folder in folders:
        paths = find_in_folder(folder)
        chosen = np.sort(np.random.default_rng(seed).permutation(len(paths))[:left])
        left -= len(chosen)
        yield from (paths[index] for index in chosen)


def _folds(paths: Sequence[Path]) -> list[int]:
    """Returns a fold for each image: its folder's, so that what is alike is together, or its own.

    Its own with few folders, or where one holds most of all. Folders fill the folds evenly, and the fold that judges is
    the one that is nearest to a fifth of all.
    """
    sizes = Counter(path.parent for path in paths)
    if len(sizes) < FOLDS or max(sizes.values()) > _MOST_OF_ALL * len(paths):
        return [index % FOLDS for index in range(len(paths))]
    filled, fold_of = [0] * FOLDS, {}
    for folder, count in sorted(sizes.items(), key=lambda item: (-item[1], item[0])):
        fold_of[folder] = fold = filled.index(min(filled))
        filled[fold] += count
    judging = min(range(FOLDS), key=lambda fold: abs(filled[fold] - len(paths) / FOLDS))
    names = {judging: HELD_OUT, HELD_OUT: judging}
    return [names.get(fold_of[path.parent], fold_of[path.parent]) for path in paths]
